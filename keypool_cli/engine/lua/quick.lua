-- The usual case of acquire, at less than half the price of the long way through choose() and grant(): the
-- roomiest project, or the one preferred, takes the demand and has room left; its leases have no
-- limit, and no day is about to end. And that of settle: a call of such a project went well, and
-- nobody waits. Whatever is unusual is left untouched for the long way, which does the same.

local expect, may_be_quick, quick_grant, quick_grants, quick_settle

do

local function is_usual(ctx, pool)
  return pool.policy == 0 and ctx.now < ctx.both_end - ctx.guard_ms
end

local function asks_as_usual(demand)
  return not demand.avoid and (demand.client == 0 or demand.client_rpm < 0 and demand.client_tpm < 0)
end

-- The roomiest projects of the pool's highest priority that has some with room, and their scores.
local function top(ctx, pool, count)
  for i = 1, pool.count do
    local found = call('ZREVRANGE', ready_key(ctx, pool.id, pool.priorities[i]), 0, count - 1, 'WITHSCORES')
    if found[1] then return found end
  end
  return {}
end

-- What a batch has read of the ready set, by place: ids, roomiest first, names, scores and records.
-- Of those before `left` none has a higher score than `best`; mixed: some of the others were granted
-- something. A preferred project that is not among the `count` comes behind them.
local function read_tops(ctx, pool, count)
  local found = top(ctx, pool, count)
  local ids, names, scores = {}, {}, {}
  for i = 1, #found / 2 do
    local id = found[2 * i - 1]
    ids[i], names[i], scores[i] = id, key(ctx, 'state', id), tonumber(found[2 * i])
  end
  local records = names[1] and call('MGET', unpack(names)) or {}
  return { ids = ids, names = names, scores = scores, records = records, written = {}, count = #ids, left = 1, best = 0 }
end

-- the place of the roomiest of all that were read
local function roomiest_of(tops)
  local at, scores = tops.left, tops.scores
  if at > tops.count or scores[at] <= tops.best then
    local found, best = nil, 0
    for i = 1, tops.mixed and tops.count or min(at, tops.count) do
      if scores[i] > best then found, best = i, scores[i] end
    end
    if found ~= at then
      tops.best = best
      return found
    end
  end
  tops.left = at + 1
  return at
end

-- the place of a project that a demand prefers
local function place_of(ctx, tops, id)
  tops.mixed = true
  for at, each in ipairs(tops.ids) do
    if each == id then return at end
  end
  local at = #tops.ids + 1
  tops.ids[at], tops.names[at] = id, key(ctx, 'state', id)
  return at
end

function may_be_quick(ctx, pool)
  if not is_usual(ctx, pool) then return false end
  unblock_once(ctx)
  if ctx.order[1] then ctx.states, ctx.order = {}, {} end -- what that has read changes in the store now
  return not ctx.tired -- else some that look full may not be
end

-- The last single demand's terms: mostly the next has the same.
local known_terms, asked_layout, affinity_from, affinity_to, client, ttl_ms, asks_usually
local asked_size = FAR

local function read_terms(bytes)
  local demand = demand_of(bytes)
  known_terms, client, ttl_ms = demand.terms, demand.client, demand.ttl_ms
  asked_size = DEMAND.size + TERMS.size + demand.lease_size
  asked_layout = DEMAND.layout .. 'c' .. TERMS.size .. 'c' .. demand.lease_size
  affinity_from = demand.affinity_size > 0 and asked_size + 1
  affinity_to = affinity_from and affinity_from + demand.affinity_size - 1
  asks_usually = asks_as_usual(demand)
end

-- Requests, tokens, lease id and the project preferred (or nil) of a demand; nil where it is unusual.
local function read_demand(bytes)
  if #bytes < asked_size then read_terms(bytes) end
  local requests, tokens, _, terms, lease_id = unpack_bytes(asked_layout, bytes)
  if terms ~= known_terms then
    read_terms(bytes)
    return read_demand(bytes)
  end
  if not asks_usually then return nil end
  return requests, tokens, lease_id, affinity_from and sub(bytes, affinity_from, affinity_to)
end

-- Grants the one demand of a call; answers the lease as stored, or nil.
function quick_grant(ctx, bytes)
  local requests, tokens, lease_id, id = read_demand(bytes)
  if not requests then return nil end
  local pool_id = id and ctx.pool.id
  if not id then
    for i = 1, #ctx.tops do
      id = call('ZREVRANGE', ctx.tops[i], 0, 0)[1]
      if id then break end
    end
    if not id then return nil end
  end
  local name = ctx.state_prefix .. id
  local state_bytes = call('GET', name)
  if not state_bytes then return nil end
  local key_id, number = try(ctx, id, name, state_bytes, requests, tokens, pool_id)
  return number and open_lease(ctx, id, key_id, lease_id, client, ttl_ms, requests, tokens, number, NO_REST)
end

-- Notes how T:meta has to be, and until when, for the next acquire with the same words to go the quick
-- way at once, see open_again().
function expect(ctx, pool, meta_bytes)
  if ctx.pool ~= pool then
    ctx.pool, ctx.tops = pool, {}
    for i = 1, pool.count do ctx.tops[i] = ready_key(ctx, pool.id, pool.priorities[i]) end
  end
  ctx.usual_meta = pool.policy == 0 and ctx.waiting == 0 and meta_bytes
  ctx.usual_end = min(ctx.both_end - ctx.guard_ms, ctx.opens_at)
end

-- Grants the first demands of a call, as far as all is usual; answers how many.
function quick_grants(ctx, pool, argv, results)
  if not may_be_quick(ctx, pool) then return 0 end
  local count, tops = ctx.chunk, nil
  for i = 1, count do
    local requests, tokens, lease_id, id = read_demand(argv[i + 2])
    if not requests then return i - 1 end
    tops = tops or read_tops(ctx, pool, count)
    local pool_id, at = id and pool.id, id and place_of(ctx, tops, id) or roomiest_of(tops)
    local name = tops.names[at]
    local bytes = at and (tops.records[at] or call('GET', name))
    if not bytes then return i - 1 end
    local before = tops.written[at] -- none but the first of a call closes an entry, nor looks at the tail
    if before then bytes = before .. sub(bytes, #before + 1) end
    id = tops.ids[at]
    local key_id, number, written, score = try(ctx, id, name, bytes, requests, tokens, pool_id)
    if not written then return i - 1 end
    results[i + 1] = open_lease(ctx, id, key_id, lease_id, client, ttl_ms, requests, tokens, number, NO_REST)
    tops.written[at], tops.scores[at] = written, score
    if score > tops.best then tops.best = score end
  end
  return count
end

-- The last settlement's ending: mostly the next has the same.
local known_ending, item_layout, id_size, settler, ends_usually

local function read_ending(ending)
  local found = {}
  ENDING.refill(ending, found)
  known_ending, id_size, settler, ends_usually = ending, found.lease_size, found.client, found.mark == 0
end

-- Closes a lease, whose id may be given; answers it as stored. Nil, with nothing written, when something
-- is unusual. Asked only where nobody waits.
function quick_settle(ctx, bytes, lease_id)
  item_layout = item_layout or ITEM.layout .. 'c' .. ENDING.size
  local actual, ending, from = unpack_bytes(item_layout, bytes)
  if ending ~= known_ending then read_ending(ending) end
  if not ends_usually then return nil end
  lease_id = lease_id or sub(bytes, from, from + id_size - 1)
  local lease = read_lease(ctx, lease_id)
  if not lease then return nil end
  local status, tokens, _, _, client, _, seq, _, expires_at, rest, id = unpack_bytes(LEASE_HEAD, lease)
  if status ~= 'o' or client ~= settler or rest ~= NO_REST or expires_at + KEEP_ANSWER_MS <= ctx.now then return nil end
  if actual < 0 then actual = tokens end
  if ctx.states[id] then return nil end -- one that this call has changed is not stored yet
  local name = ctx.state_prefix .. id
  local state_bytes = call('GET', name)
  if not state_bytes or not try(ctx, id, name, state_bytes, nil, actual - tokens, nil, seq) then return nil end
  local member = id .. ':' .. lease_id
  if ctx.closed then ctx.closed[#ctx.closed + 1] = member else call('ZREM', ctx.leases_key, member) end
  -- status and tokens are LEASE's first nine bytes; the caller's answer comes behind it
  local settled = pack_bytes('<c1i8', 's', actual) .. sub(lease, 10) .. sub(bytes, from + id_size)
  put_lease(ctx, lease_id, expires_at, settled)
  return settled
end

end
