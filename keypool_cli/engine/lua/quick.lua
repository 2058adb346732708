-- The usual case of acquire, at half the price of the long way through choose() and grant(): the
-- roomiest project, or the one preferred, takes the demand and has room left; its leases have no
-- limit, and no day is about to end. And that of settle: a call of such a project went well, and
-- nobody waits. A project's fields are names here, not a table's: STATE_FIELDS stands for all of
-- STATE's, which is why try() is as long as it is. Whatever is unusual is left untouched for the
-- long way, which does the same.

local quick_grant, quick_grants, quick_settle

do

local standing_bytes, pools, STANDING_FIELDS -- the last project's: mostly the next one has the same
local window = {} -- what drop_expired() works on

local function read_standing(bytes)
  STANDING_FIELDS = unpack_bytes(STANDING.layout, bytes)
  pools = numbers_at(bytes, STANDING.size + 1, (#bytes - STANDING.size) / 4, 'I4')
  standing_bytes = bytes
end

-- Grants a demand on a project of the pool, or, where there is none, ends a lease of it that took
-- `change` tokens more than it had reserved. Answers the project's record as it is now stored, its
-- score, and what open_lease() is to know: the key's id and the number of the entry. Nil, with
-- nothing written, when something is unusual.
local function try(ctx, id, name, bytes, pool, demand, lease, change)
  local STATE_FIELDS, from = unpack_bytes(STATE.layout, bytes)
  local keys_at = from + STANDING.size + 4 * pool_count
  local standing, now = sub(bytes, from, keys_at - 1), ctx.now
  if standing ~= standing_bytes then read_standing(standing) end
  -- one with a score is usable, cools not and is kept for nobody
  if score == 0 or touched_at > now or limit_in_flight < UNLIMITED
    or day_at ~= ctx.day_at or utc_at ~= ctx.utc_at then
    return nil
  end

  local left_at = now - ctx.window_ms -- what was booked before has left the window
  if ring_count > 0 and oldest_at < left_at then
    window.id, window.ring_slots, window.ring_head, window.ring_count = id, ring_slots, ring_head, ring_count
    window.seq, window.oldest_at, window.requests, window.tokens = seq, oldest_at, requests, tokens
    drop_expired(ctx, window, left_at)
    ring_head, ring_count, seq = window.ring_head, window.ring_count, window.seq
    oldest_at, requests, tokens = window.oldest_at, window.requests, window.tokens
  end
  if open_requests > 0 and open_at < left_at then
    requests, tokens, seq = requests - open_requests, tokens - open_tokens, seq + 1
    open_requests, open_tokens = 0, 0
  end

  local index = demand and ring_count or lease.seq - seq
  if demand then
    if demand.affinity ~= '' and not is_among(pools, pool.id) then return nil end
    requests, tokens = requests + demand.requests, tokens + demand.tokens
    day_requests, utc_requests = day_requests + demand.requests, utc_requests + demand.requests
  else
    if failures > 0 then return nil end
    if index < 0 or index > ring_count or index == ring_count and open_requests == 0 then change = 0 end
    tokens = tokens + change
  end
  local most = limit_day - MOST_REQUESTS
  if requests >= limit_requests or tokens >= limit_tokens or day_requests > most
    or utc_requests > most then
    return nil
  end

  local key_id
  if demand then
    if open_requests > 0 and now - open_from > gap_ms then
      if ring_count >= ring_slots then return nil end
      write_entry(ctx, id, (ring_head + ring_count) % ring_slots, open_at, open_requests, open_tokens)
      if ring_count == 0 then oldest_at = open_at end
      ring_count, open_requests, open_tokens = ring_count + 1, 0, 0
    end
    if open_requests == 0 then open_from = now end
    open_at, open_requests, open_tokens = now, open_requests + demand.requests, open_tokens + demand.tokens
    key_id = unpack_bytes('<I4', bytes, keys_at + 4 * (picks % key_count))
    picks, in_flight = (picks + 1) % 4294967296, in_flight + 1
    if picks % 16 == 0 then ctx.tidy = true end
  else
    if change ~= 0 and index < ring_count then
      window.id, window.ring_slots, window.ring_head = id, ring_slots, ring_head
      add_to_entry(ctx, window, index, 0, change)
    else
      open_tokens = open_tokens + change
    end
    in_flight = max(in_flight - 1, 0)
  end
  if ring_count == 0 and ring_head > 0 then
    ring_head = 0
    call('DEL', key(ctx, 'ring', id))
  end

  local grows = (ring_count > 0 and oldest_at or open_at) + ctx.window_ms + 1
  if (ring_count > 0 or open_requests > 0) and (stale_at == 0 or grows < stale_at) then
    stale_at = grows
    add(ctx, 'ZADD', key(ctx, 'stale'), grows, id)
  end
  local was = score
  touched_at, score = now, headroom(limit_tokens - tokens, limit_requests - requests, MOST_SCORED)
  for i = 1, score ~= was and #pools or 0 do
    local ready = ready_key(ctx, pools[i], priority)
    if ctx.sets then add(ctx, 'ZADD', ready, score, id) else call('ZADD', ready, score, id) end
  end
  local written = pack_bytes(STATE.layout, STATE_FIELDS)
  call('SETRANGE', name, 0, written)
  return written, score, key_id, seq + ring_count
end

local function is_usual(ctx, pool)
  return pool.policy == 0 and ctx.now < ctx.both_end - ctx.guard_ms
end

local function asks_as_usual(demand)
  return not demand.avoid and (demand.client == 0 or demand.client_rpm < 0 and demand.client_tpm < 0)
end

-- The top of the pool's highest priority that has a project with room; with scores for a batch.
local function top(ctx, pool, count)
  for i = 1, pool.count do
    local name = ready_key(ctx, pool.id, pool.priorities[i])
    local found = count == 1 and call('ZREVRANGE', name, 0, 0)
      or call('ZREVRANGE', name, 0, count - 1, 'WITHSCORES')
    if found[1] then return found end
  end
  return {}
end

-- What a batch has read of the ready set: ids, roomiest first, their scores and records. Of those
-- before `left` none has a higher score than `best`; mixed: some of the others were granted something.
local function read_tops(ctx, pool, count)
  local found = top(ctx, pool, count)
  local tops, names = { scores = {}, names = {}, records = {}, written = {}, left = 1, best = 0 }, {}
  for i = 1, #found, 2 do
    local id = found[i]
    local name = key(ctx, 'state', id)
    tops[#tops + 1], tops.scores[id], tops.names[id], names[#names + 1] = id, tonumber(found[i + 1]), name, name
  end
  if names[1] then
    local records = call('MGET', unpack(names))
    for i, id in ipairs(tops) do tops.records[id] = records[i] end
  end
  return tops
end

-- the roomiest of all that were read
local function roomiest_of(tops)
  local id = tops[tops.left]
  if not id or tops.scores[id] <= tops.best then
    local best = 0
    for i = 1, tops.mixed and #tops or min(tops.left, #tops) do
      local score = tops.scores[tops[i]]
      if score > best then id, best = tops[i], score end
    end
    if id ~= tops[tops.left] then
      tops.best = best
      return id
    end
  end
  tops.left = tops.left + 1
  return id
end

local demand_before -- its table is the next one's

local function begin(ctx, pool)
  if not is_usual(ctx, pool) then return false end
  unblock_once(ctx)
  if ctx.order[1] then ctx.states, ctx.order = {}, {} end -- what that has read changes in the store now
  return not ctx.tired -- else some that look full may not be
end

-- Grants the one demand of a call; answers the lease as stored, or nil.
function quick_grant(ctx, pool, bytes)
  if not begin(ctx, pool) then return nil end
  local demand = demand_of(bytes, demand_before)
  demand_before = demand
  if not asks_as_usual(demand) then return nil end
  local id = demand.affinity
  if id == '' then id = top(ctx, pool, 1)[1] end
  local name = id and key(ctx, 'state', id)
  local state_bytes = id and call('GET', name)
  if not state_bytes then return nil end
  local written, _, key_id, number = try(ctx, id, name, state_bytes, pool, demand)
  return written and open_lease(ctx, id, key_id, demand, number, 0)
end

-- Grants the first demands of a call, as far as all is usual; answers how many.
function quick_grants(ctx, pool, argv, results)
  if not begin(ctx, pool) then return 0 end
  local count, tops = ctx.chunk, nil
  for i = 1, count do
    local demand = demand_of(argv[i + 2], demand_before)
    demand_before = demand
    if not asks_as_usual(demand) then return i - 1 end
    tops = tops or read_tops(ctx, pool, count)
    local id = demand.affinity
    if id == '' then id = roomiest_of(tops) else tops.mixed = true end
    local name = id and (tops.names[id] or key(ctx, 'state', id))
    local bytes = id and (tops.records[id] or call('GET', name))
    if not bytes then return i - 1 end
    local before = tops.written[id]
    if before then bytes = before .. sub(bytes, #before + 1) end
    local written, score, key_id, number = try(ctx, id, name, bytes, pool, demand)
    if not written then return i - 1 end
    results[i + 1] = open_lease(ctx, id, key_id, demand, number, 0)
    tops.written[id], tops.scores[id] = written, score
    tops.best = max(tops.best, score)
  end
  return count
end

-- Closes a lease; answers it as stored. Nil, with nothing written, when something is unusual.
function quick_settle(ctx, lease, item)
  if item.mark > 0 or lease.status ~= 'o' or lease.client_seq > 0 or ctx.waiting > 0 then return nil end
  local id, actual = integer(lease.project), item.tokens < 0 and lease.tokens or item.tokens
  local name = key(ctx, 'state', id)
  if ctx.states[id] then return nil end -- one that this call has changed is not stored yet
  local bytes = call('GET', name)
  local written = bytes and try(ctx, id, name, bytes, nil, nil, lease, actual - lease.tokens)
  if not written then return nil end
  local member = open_name(id, lease.id)
  if ctx.closed then ctx.closed[#ctx.closed + 1] = member else call('ZREM', key(ctx, 'leases'), member) end
  -- status is LEASE's first byte, tokens those from the sixteenth on
  local settled = 's' .. sub(lease.bytes, 2, 15) .. pack_bytes('<i8', actual) .. sub(lease.bytes, 24) .. item.answer
  put_lease(ctx, lease.id, lease.expires_at, settled)
  return settled
end

end
