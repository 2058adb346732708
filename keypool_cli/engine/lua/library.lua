#!lua name=keypool
-- keypool's selection engine: one function per verb, all state of a model in one hash slot.
--
-- Every function takes KEYS[1] = the model's hash tag, '{kp:<model>}', and ARGV:
--   1  now, ms since epoch; 0 asks the server (only tests pass another clock)
--   2  a MessagePack array, described above each verb
--   3… of acquire and settle: one packed record each
-- and answers MessagePack, or an array of packed records where it says so. It changes everything
-- or, on an error, nothing that counts.
--
-- Keys (T = the tag; P = a project's id, or 'c' + a client's id for a client's own window)
--   T:meta            string   struct META + each pool: struct POOL + its priorities, highest first
--   T:epoch           string   names this live state; SQL knows it too, so a lost store is noticed
--   T:state:P         string   struct STATE + tail + struct STANDING + the ids of its pools and of its keys
--   T:ring:P          string   closed window entries, ENTRY_SIZE bytes each: last booking at, requests, tokens
--   T:ready:<id>:<n>  zset     projects of pool <id> and priority <n> with room; score: token, then request headroom
--   T:blocked         zset     projects without room -> the instant one may be ready again
--   T:stale           zset     projects in a ready set -> the instant their score may be too low, or its day ends
--   T:leases          zset     open leases: '<project>:<lease id>' -> expires_at; once expired or closed they leave it
--   T:flight:P        zset     the same of one project, while it has an in-flight limit
--   T:lease:<n>       hash     lease id -> struct LEASE + the caller's answer, of all that are forgotten,
--                              10 minutes past expires_at, within the <n>th five minutes since the epoch
--   T:line:<id>       zset     waiting demands of pool <id>, see member_name -> turn
--   T:sizes:<id>      zset     their lease ids -> tokens
--   T:turns:<id>      hash     client -> its last turn; field '' the turn served last
--   T:waiter          hash     lease id -> the waiting demand: struct WAITER + project kept free + the demand
--   T:holder:<id>     string   lease id of the waiter of pool <id> that a project is kept free for
--   T:ticket          string   the last waiter's number
--   T:daemon:<id>     string   when that daemon last asked for its grants; kept a minute
--   T:grants:<daemon> list     grants made to that daemon's waiters, struct LEASE + lease id
--   T:members         set      ids of the projects loaded
--   T:members:<id>    set      those of them in pool <id>
--   T:loading         string   token of the process that loads the model now
--   T:rebuilt         string   end of the cooldown set when lost state was rebuilt
--   T:used_at         string   when it was in use, to a few seconds; SQL knows it too
--   T:vouched         string   the server's run id when this state was last compared with SQL
--   T:clock           string   dies at CLOCK_ENDS; where it is gone, the time is read otherwise
--
-- A window is a log of entries numbered from STATE.seq; the newest is open and lives in STATE. Of the
-- closed ones the newest, at most TAIL, lie in the tail beside it, number n in slot n % TAIL, so that
-- few grants write the ring; the others in the ring. Bookings within gap_ms share an entry, which
-- leaves the window when its *last* booking does: a count may be dropped late, never early.

local UNLIMITED = 1099511627775 -- 2^40-1, above every finite limit (10^12)
local ENTRY, ENTRY_SIZE, TAIL = '<I6I3I6', 15, 8
local TAIL_BYTES = 1 + TAIL * ENTRY_SIZE -- after a spare byte: struct takes no text of length 0
local DAY, DAY_SIZE, MOST_DAYS = '<I6I4', 10, 3 -- its start and its requests; so many are kept
local KEEP_ANSWER_MS = 600000   -- a settled answer is repeated this long past expires_at
local SHELF_MS = 300000         -- leases forgotten within so long lie in one hash
local MOST_TTL_MS = 3600000     -- of a lease
local BIG_STEP_MS = 5000        -- a clock set back further than this restarts the window as just spent
local DAY_MS = 86400000
local CLOCK_ENDS = 4102444800000 -- in 2100
local FLAG_USABLE, FLAG_EXCLUDED = 1, 2 -- and 4: counted by both days
local USABLE, BOTH_DAYS = { [1] = true, [5] = true }, { [4] = true, [5] = true, [6] = true, [7] = true }
local MOST_PASSED = 16384       -- ready projects one choice may pass over: 6 ms
local PAGE = 512                --   and how many of them are read in one go
local MOST_DUE = 1024           -- projects one call brings to the present, and leases it ends, before it gives up
local LOOK = 64                 -- projects a search for the earliest instant may look at, in each set or pool
local LAYOUT = LAYOUT_NUMBER    -- of the records below: a state that another keypool wrote is not read
local FAR = 281474976710655     -- an instant that never comes, 2^48-1
local MOST_REQUESTS = 100       -- of one demand
local MOST_SCORED = 4095        -- requests that a score in the ready sets tells apart
local MOST_SLOTS = 4096         -- of a ring
local MOST_SPARE = 32           -- records kept from call to call
local MOST_KEPT = 64            -- models and arguments known from calls before,
local MOST_KEPT_BYTES = 256     --   unless these are longer

-- bound on the first call: Redis 7.0 has no globals while a library loads
local call, floor, max, min, format, sub, rep, find, pack_bytes, unpack_bytes, NO_DAYS

local function key(ctx, name, id)
  local found = ctx.names[name]
  if not found then
    found = ctx.tag .. ':' .. name
    ctx.names[name] = found
  end
  if id then return found .. ':' .. id end
  return found
end

-- as text; a number given to call() may stay one
local function integer(value)
  return format('%d', value)
end
