-- Leases: granting, finding, ending.

-- A demand as calls carry it, struct DEMAND, struct TERMS and four texts; into a table that was one
-- before, where one is given.
local function demand_of(bytes, demand)
  demand = demand or {}
  local terms_at = DEMAND.refill(bytes, demand)
  local from = terms_at + TERMS.size
  local terms = sub(bytes, terms_at, from - 1)
  if demand.terms ~= terms then TERMS.refill(terms, demand) end
  demand.terms, demand.avoid = terms, nil
  local affinity_at = from + demand.lease_size
  demand.lease_id, demand.affinity, demand.daemon = sub(bytes, from, affinity_at - 1), '', ''
  demand.number, demand.bytes = -1, bytes
  if #bytes >= affinity_at then
    local daemon_at = affinity_at + demand.affinity_size
    local avoid_at = daemon_at + demand.daemon_size
    demand.affinity = sub(bytes, affinity_at, daemon_at - 1)
    demand.daemon = sub(bytes, daemon_at, avoid_at - 1)
    if demand.avoid_size > 0 then demand.avoid = sub(bytes, avoid_at) end
  end
  return demand
end

-- Demands that found no project: by their requests, the fewest tokens. What is no smaller finds none.
local function is_too_large(known, demand)
  if not known then return false end
  for requests, tokens in pairs(known) do
    if requests <= demand.requests and tokens <= demand.tokens then return true end
  end
  return false
end

local function also_too_large(known, demand)
  if demand.avoid then return known end
  known = known or {}
  known[demand.requests] = min(known[demand.requests] or UNLIMITED, demand.tokens)
  return known
end

-- struct RESULT and the limit
local function result_of(kind, project, at, limit)
  return pack_bytes(RESULT.layout, kind, project, at, #limit) .. limit
end

-- the client's own window on this model; nil when it has no limits
local function client_state(ctx, demand)
  if demand.client == 0 or (demand.client_rpm < 0 and demand.client_tpm < 0) then return nil end
  local id = 'c' .. demand.client
  local state = get_state(ctx, id)
  if not state then state = remember(ctx, id, blank(ctx.now)) end
  state.is_client = true
  set(state, 'flags', FLAG_USABLE)
  set(state, 'limit_requests', demand.client_rpm < 0 and UNLIMITED or demand.client_rpm)
  set(state, 'limit_tokens', demand.client_tpm < 0 and UNLIMITED or demand.client_tpm)
  set(state, 'limit_day', UNLIMITED)
  set(state, 'limit_in_flight', UNLIMITED)
  size_ring(ctx, state)
  advance(ctx, state)
  return state
end

-- nil when the client's own limits allow it, else when they will (false: never)
local function client_refusal(ctx, client, demand)
  if not client then return nil end
  if client.requests + demand.requests <= client.limit_requests
    and client.tokens + demand.tokens <= client.limit_tokens then
    return nil
  end
  return window_fits_at(ctx, client, demand) or false
end

-- The fields of a LEASE up to client_seq, the others as one (no client's window, not settled), and the name.
local LEASE_HEAD = '<c1i8I4I4I4I2di8i8c17s'
local NO_REST = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

-- writes what has become of a lease, with the caller's answer
local function save_lease(ctx, lease, answer)
  local bytes = LEASE.encode(lease) .. (answer or '')
  put_lease(ctx, lease.id, lease.expires_at, bytes)
  return bytes
end

-- nil when there is none or it is another client's; into a table that was one before, where one is given
local function find_lease(ctx, lease_id, client, lease)
  local bytes = read_lease(ctx, lease_id)
  if not bytes then return nil end
  lease = lease or {}
  LEASE.refill(bytes, lease)
  if lease.client ~= client or lease.expires_at + KEEP_ANSWER_MS <= ctx.now then return nil end
  lease.id, lease.bytes = lease_id, bytes
  return lease
end

-- an open lease in the sets of them: with its project, for its own record may be gone first
local function open_name(project, lease_id)
  return project .. ':' .. lease_id
end

-- takes a lease out of those in flight
local function close_lease(ctx, lease, state)
  if lease.status ~= 'o' then return end
  local name = open_name(lease.name, lease.id)
  call('ZREM', key(ctx, 'leases'), name)
  if not state then return end
  if state.in_flight > 0 then state.in_flight = state.in_flight - 1 end
  if state.limit_in_flight < UNLIMITED then call('ZREM', key(ctx, 'flight', state.id), name) end
end

-- the records a lease was booked on, at the present; the project may be gone
local function lease_states(ctx, lease)
  local state = get_state(ctx, lease.name)
  if state then advance(ctx, state) end
  local client = lease.client_seq > 0 and get_state(ctx, 'c' .. lease.client) or nil
  if client then
    client.is_client = true
    advance(ctx, client)
  end
  return state, client
end

-- Ends the leases of a set whose time is over; their reservations stay, since we cannot know.
local function end_due(ctx, set, limit)
  local due = call('ZRANGE', set, '-inf', ctx.now, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  for i = 1, #due, 2 do
    local project, lease_id = string.match(due[i], '^(%d+):(.*)$')
    local bytes = read_lease(ctx, lease_id, tonumber(due[i + 1]))
    local lease = bytes and LEASE.decode(bytes) or { status = 'o', name = project, client_seq = 0 }
    lease.id = lease_id
    local state = lease_states(ctx, lease)
    close_lease(ctx, lease, state)
    if state then place(ctx, state) end
    if bytes then
      lease.status = 'x'
      save_lease(ctx, lease)
    end
  end
  if #due > 0 then commit(ctx) end
  return #due / 2
end

local function sweep(ctx, limit)
  return end_due(ctx, key(ctx, 'leases'), limit)
end

-- The leases of a project whose in-flight limit refuses a demand may be over already. A call
-- ends 1,024 for that and leaves ctx.tired.
local function land(ctx, state, demand)
  while refusal(ctx, state, demand) == 'in_flight' do
    if ctx.landed >= MOST_DUE then
      ctx.tired = true
      return
    end
    local ended = end_due(ctx, key(ctx, 'flight', state.id), 64)
    if ended == 0 then ended = sweep(ctx, 64) end
    if ended == 0 then return end
    ctx.landed = ctx.landed + ended
  end
end

-- Writes a lease; answers it as stored, which is what its asker gets. rest: of the record, from
-- client_seq on.
local function open_lease(ctx, id, key_id, lease_id, client, ttl_ms, requests, tokens, seq, rest)
  local now = ctx.now
  local expires_at, member = now + ttl_ms, id .. ':' .. lease_id
  local bytes = pack_bytes(LEASE_HEAD, 'o', tokens, id, key_id, client, requests, seq, now, expires_at, rest, id)
  put_lease(ctx, lease_id, expires_at, bytes)
  if ctx.sets then
    add(ctx, 'ZADD', ctx.leases_key, expires_at, member)
  else
    call('ZADD', ctx.leases_key, expires_at, member)
  end
  return bytes
end

-- Books the demand on the project and on the client's window, and opens the lease.
local function grant(ctx, state, demand, client)
  local seq = book(ctx, state, demand.requests, demand.tokens)
  local client_seq = client and book(ctx, client, demand.requests, demand.tokens)
  local pick = unpack_bytes('<I4', state.keys, 1 + 4 * (state.picks % state.key_count))
  state.picks, state.in_flight = (state.picks + 1) % 4294967296, state.in_flight + 1
  if state.held_by == demand.number then keep_for(state, 0, 0) end
  if state.limit_in_flight < UNLIMITED then
    call('ZADD', key(ctx, 'flight', state.id), ctx.now + demand.ttl_ms, open_name(state.id, demand.lease_id))
  end
  place(ctx, state)
  if state.in_flight >= state.limit_in_flight then land(ctx, state, NOTHING_MORE) end
  if state.picks % 16 == 0 then ctx.tidy = true end -- time to end old leases, once in a while
  ctx.told = nil
  return open_lease(ctx, state.id, pick, demand.lease_id, demand.client, demand.ttl_ms, demand.requests,
    demand.tokens, seq, client and pack_bytes('<dc9', client_seq, NO_REST) or NO_REST)
end

-- Gives back what a lease reserved: its call was never made.
local function give_back(ctx, lease)
  local state, client = lease_states(ctx, lease)
  close_lease(ctx, lease, state)
  if state then
    correct(ctx, state, lease.seq, -lease.requests, -lease.tokens)
    if lease.seq >= state.emptied_seq then uncount(ctx, state, lease.granted_at, lease.requests) end
    place(ctx, state)
  end
  if client then correct(ctx, client, lease.client_seq, -lease.requests, -lease.tokens) end
  lease.status = 'r'
  save_lease(ctx, lease)
  return state
end
