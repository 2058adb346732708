-- The records that are stored, and those that calls carry and answer.

local FIELDS = {} -- of each record, in its order
-- What is known of one project (or client) on this model, in two records: STATE changes with every
-- grant, STANDING seldom, and then by set() only. Many projects have the same one. A double ('d')
-- holds whole numbers to 2^53 and is read in two thirds of an I6's time.
FIELDS.state = {
  -- all that a settlement changes where nothing has left the window, see SETTLED in try.lua
  { 'tokens', 'd' },          -- booked in the sliding window: settled + reserved
  { 'open_tokens', 'd' },     -- of its open entry
  { 'touched_at', 'd' },      -- last advanced to this instant; time never runs back before it
  { 'in_flight', 'I4' },      -- open leases
  { 'score', 'd' },           -- in its ready sets; 0: it is in none
  -- the window besides
  { 'requests', 'I4' },       -- booked in it
  { 'seq', 'd' },             -- number of its oldest entry
  { 'ring_head', 'I2' },      -- slot of the oldest entry in the ring
  { 'ring_count', 'I2' },     -- entries in it: the oldest of those closed
  { 'closed', 'I2' },         -- closed entries: these, and those in the tail
  { 'oldest_at', 'd' },       -- last booking of the oldest closed entry
  { 'open_from', 'd' },       -- the open entry: first booking,
  { 'open_at', 'd' },         --   last booking,
  { 'open_requests', 'I4' },  --   requests; 0: there is no open entry
  { 'day_requests', 'I4' },   -- since the start of the Pacific day
  { 'utc_requests', 'I4' },   -- since the start of the UTC day
  { 'picks', 'I4' },          -- leases ever, modulo 2^32: rotates the keys
  -- its places in the other sorted sets; 0: not in it
  { 'blocked_at', 'd' },
  { 'stale_at', 'd' },
}
FIELDS.standing = {
  { 'pool_count', 'I2' },
  -- the days; each with the requests booked on others, see window.lua
  { 'day_at', 'I6' },         -- start of the Pacific day
  { 'day_others', 'c30' },    -- MOST_DAYS of them
  { 'utc_at', 'I6' },         -- start of the UTC day
  { 'utc_others', 'c30' },
  { 'emptied_seq', 'I6' },    -- the counts hold no booking of an entry before it
  -- what refusals and operators did
  { 'cool_until', 'I6' },     -- cooldown of this project and model
  { 'wide_until', 'I6' },     -- cooldown of the whole project or its billing account
  { 'failures', 'I2' },       -- refusals in a row that named no time
  { 'reset_at', 'I6' },       -- answers to calls granted at or before it no longer cool
  { 'held_until', 'I6' },     -- kept free until then for
  { 'held_by', 'I6' },        --   the waiter with this number
  -- configuration, written by load
  { 'limit_requests', 'I6' }, -- a minute
  { 'limit_tokens', 'I6' },   -- a minute, input
  { 'limit_day', 'I6' },      -- requests a day
  { 'limit_in_flight', 'I6' },
  { 'ring_slots', 'I2' },
  { 'gap_ms', 'I4' },         -- bookings this close share an entry
  { 'flags', 'I1' },
  { 'priority', 'i4' },
  { 'key_count', 'I2' },
}                             -- ids of 4 bytes each follow: pools, then keys
FIELDS.meta = {
  { 'layout', 'I4' },         -- LAYOUT of whoever sealed it
  { 'waiting', 'I4' },        -- demands that wait, in all pools
  { 'opens_at', 'I6' },       -- no project of T:blocked opens before
  { 'revision', 'I6' },       -- of the registry, when this model was last loaded
  { 'window_ms', 'I6' },      -- minute and guard together
  { 'guard_ms', 'I4' },
  { 'starve_ms', 'I4' },      -- a waiter older than this has a project kept free for it
}
FIELDS.pool = {
  { 'id', 'I4' },
  { 'policy', 'I1' },         -- 0 spread, 1 pack
  { 'count', 'I2' },          -- priorities of 4 bytes each follow
}
FIELDS.lease = {
  { 'status', 'c1' },         -- o open, x expired, s settled, r released
  { 'tokens', 'i8' },         -- reserved; the settled count once settled
  { 'project', 'I4' },
  { 'key', 'I4' },
  { 'client', 'I4' },         -- 0: none
  { 'requests', 'I2' },
  { 'seq', 'd' },             -- entry in the project's window
  { 'granted_at', 'i8' },
  { 'expires_at', 'i8' },
  { 'client_seq', 'd' },      -- entry in the client's own window; 0: it has none
  { 'applied', 'I1' },        -- once settled: 1 when its mark took effect
  { 'until_at', 'i8' },       --   and until when, 0: none
  { 'name', 's' },            -- the project as text and a zero: to make text of a number is dear
}
-- What calls carry and answer, besides.
FIELDS.demand = {
  { 'requests', 'I2' },
  { 'tokens', 'd' },
  { 'deadline', 'd' },        -- 0: it does not wait
}                             -- then its TERMS
FIELDS.terms = {              -- the same for many demands
  { 'ttl_ms', 'I4' },
  { 'client', 'I4' },         -- 0: none
  { 'client_rpm', 'i8' },     -- -1: none
  { 'client_tpm', 'i8' },
  { 'lease_size', 'I2' },     -- then the lease id,
  { 'affinity_size', 'I1' },  --   the project preferred ('': none),
  { 'daemon_size', 'I1' },    --   the daemon that waits,
  { 'avoid_size', 'I2' },     --   and the projects it must not get: ',1,2,' ('': none)
}
FIELDS.waiter = {
  { 'number', 'i8' },
  { 'since', 'i8' },
  { 'pool', 'I4' },
  { 'held_size', 'I1' },      -- then the project kept free for it ('': none) and its demand
}
FIELDS.result = {             -- where nothing was granted
  { 'kind', 'I1' },           -- 0 refused, 2 it waits; a granted demand's LEASE starts with 'o'
  { 'project', 'I4' },        -- the one that frees first, 0: none
  { 'at', 'i8' },             -- when to ask again, 0: never, -1: at once
  { 'limit_size', 'I1' },     -- then the limit
}
FIELDS.answer = {
  { 'known', 'I1' },          -- 1; 0: load this model first
  { 'now', 'i8' },
  { 'revision', 'i8' },
}                             -- then for each demand its LEASE, or a RESULT
FIELDS.item = {
  { 'tokens', 'd' },          -- -1: the reservation
}                             -- then its ENDING
FIELDS.ending = {             -- the same for many items
  { 'client', 'I4' },         -- 0: none
  { 'success', 'I1' },
  { 'mark', 'I1' },           -- index into MARKS, 0: none
  { 'until_at', 'i8' },       -- of the mark, see apply_mark
  { 'base', 'i8' },
  { 'cap', 'i8' },
  { 'jitter', 'd' },
  { 'lease_size', 'I2' },     -- then the lease id and the caller's answer, kept and repeated
}

local STATE, STANDING, META, POOL, LEASE, DEMAND, TERMS, WAITER, RESULT, ANSWER, ITEM, ENDING
local zeros -- makes a state of zeros
local is_idle, bind

do -- Lua has room for 200 local names in one scope

-- A codec reads and writes every record of a call, so it is compiled: naming the fields one by one
-- costs a third of a loop over their names.
local function codec(fields)
  local formats, names, values, sets, gets = { '<' }, {}, {}, {}, {}
  for i, field in ipairs(fields) do
    formats[i + 1], names[i], values[i] = field[2], field[1], 'v' .. i
    sets[i], gets[i] = field[1] .. '=v' .. i, 'r.' .. field[1]
  end
  local layout, given, got = table.concat(formats), table.concat(values, ','), table.concat(gets, ',')
  local decode = 'local unpack, f = ... return function(bytes) local ' .. given
    .. ', next = unpack(f, bytes) return {' .. table.concat(sets, ',') .. '}, next end'
  local refill = 'local unpack, f = ... return function(bytes, r) local next ' .. got
    .. ', next = unpack(f, bytes) return next end'
  local encode = 'local pack, f = ... return function(r) return pack(f,' .. got .. ') end'
  return {
    layout = layout, size = not find(layout, 's') and struct.size(layout), zeros = table.concat(names, '=0,') .. '=0',
    -- a record by field name, and where the bytes after it begin
    decode = loadstring(decode)(struct.unpack, layout),
    -- the same into a table that was one before
    refill = loadstring(refill)(struct.unpack, layout),
    encode = loadstring(encode)(struct.pack, layout),
  }
end

-- Where a record says that its project was used or is held back, from one field to another; all
-- zero otherwise.
local SIGNS = {
  { 'requests', 'requests' }, { 'day_requests', 'day_requests' }, { 'utc_requests', 'utc_requests' },
  { 'cool_until', 'failures' }, { 'in_flight', 'in_flight' },
}
local signs

local function find_signs()
  local at, from, to = 1, {}, {}
  for _, fields in ipairs({ FIELDS.state, FIELDS.standing }) do
    for _, field in ipairs(fields) do
      local size = struct.size('<' .. field[2])
      from[field[1]], to[field[1]] = at, at + size - 1
      at = at + size
    end
    at = at + TAIL_BYTES -- which lies between the two
  end
  signs = {}
  for i, sign in ipairs(SIGNS) do
    local first, last_byte = from[sign[1]], to[sign[2]]
    signs[i] = { first, last_byte, rep('\0', last_byte - first + 1) }
  end
end

function is_idle(bytes)
  for _, sign in ipairs(signs) do
    if sub(bytes, sign[1], sign[2]) ~= sign[3] then return false end
  end
  return true
end

function bind()
  call, floor, max, min = redis.call, math.floor, math.max, math.min
  format, sub, rep, find = string.format, string.sub, string.rep, string.find
  pack_bytes, unpack_bytes, NO_DAYS = struct.pack, struct.unpack, rep('\0', MOST_DAYS * DAY_SIZE)
  STATE, STANDING = codec(FIELDS.state), codec(FIELDS.standing)
  META, POOL, LEASE = codec(FIELDS.meta), codec(FIELDS.pool), codec(FIELDS.lease)
  DEMAND, TERMS, WAITER = codec(FIELDS.demand), codec(FIELDS.terms), codec(FIELDS.waiter)
  RESULT, ANSWER, ITEM, ENDING = codec(FIELDS.result), codec(FIELDS.answer), codec(FIELDS.item), codec(FIELDS.ending)
  zeros = loadstring('return {' .. STATE.zeros .. ',' .. STANDING.zeros .. '}')
  find_signs()
end

end
