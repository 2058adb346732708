-- Leases: granting, finding, ending.

-- A demand on the wire, as an array; see acquire.lua.
local function demand_of(array)
  return {
    lease_id = array[1], requests = array[2], tokens = array[3], ttl_ms = array[4],
    client = array[5], client_rpm = array[6], client_tpm = array[7], affinity = array[8],
    deadline = array[9], daemon = array[10], avoid = array[11] ~= '' and array[11] or nil,
    number = -1, array = array,
  }
end

-- the client's own window on this model; nil when it has no limits
local function client_state(ctx, demand)
  if demand.client == 0 or (demand.client_rpm < 0 and demand.client_tpm < 0) then return nil end
  local id = 'c' .. integer(demand.client)
  local state = get_state(ctx, id)
  if not state then state = remember(ctx, id, blank(ctx.now)) end
  state.is_client, state.flags, state.key_count = true, FLAG_USABLE, 0
  state.limit_requests = demand.client_rpm < 0 and UNLIMITED or demand.client_rpm
  state.limit_tokens = demand.client_tpm < 0 and UNLIMITED or demand.client_tpm
  state.limit_day, state.limit_in_flight = UNLIMITED, UNLIMITED
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

local function save_lease(ctx, lease, answer, keep)
  local name, bytes = key(ctx, 'lease', lease.id), encode(LEASE, lease) .. (answer or '')
  if keep then
    redis.call('SET', name, bytes, 'KEEPTTL')
  else
    redis.call('SET', name, bytes, 'PX', integer(lease.expires_at - ctx.now + KEEP_ANSWER_MS))
  end
end

-- nil when there is none or it is another client's
local function find_lease(ctx, lease_id, client)
  local bytes = redis.call('GET', key(ctx, 'lease', lease_id))
  if not bytes then return nil end
  local lease, from = decode(LEASE, bytes)
  if lease.client ~= client or lease.expires_at + KEEP_ANSWER_MS <= ctx.now then return nil end
  lease.id, lease.answer = lease_id, string.sub(bytes, from)
  return lease
end

-- an open lease in the sets of them: with its project, for its own record may be gone first
local function open_name(project, lease_id)
  return project .. ':' .. lease_id
end

-- takes a lease out of those in flight
local function close_lease(ctx, lease, state)
  if lease.status ~= 'o' then return end
  local name = open_name(integer(lease.project), lease.id)
  redis.call('ZREM', key(ctx, 'leases'), name)
  if not state then return end
  if state.in_flight > 0 then state.in_flight = state.in_flight - 1 end
  if state.limit_in_flight < UNLIMITED then redis.call('ZREM', key(ctx, 'flight', state.id), name) end
end

-- the records a lease was booked on, at the present; the project may be gone
local function lease_states(ctx, lease)
  local state = get_state(ctx, integer(lease.project))
  if state then advance(ctx, state) end
  local client = lease.client_seq > 0 and get_state(ctx, 'c' .. integer(lease.client)) or nil
  if client then
    client.is_client = true
    advance(ctx, client)
  end
  return state, client
end

-- Ends the leases of a set whose time is over; their reservations stay, since we cannot know.
local function end_due(ctx, set, limit)
  local due = redis.call('ZRANGE', set, '-inf', integer(ctx.now), 'BYSCORE', 'LIMIT', 0, limit)
  for _, name in ipairs(due) do
    local project, lease_id = string.match(name, '^(%d+):(.*)$')
    local bytes = redis.call('GET', key(ctx, 'lease', lease_id))
    local lease = bytes and decode(LEASE, bytes) or { status = 'o', project = tonumber(project), client_seq = 0 }
    lease.id = lease_id
    local state = lease_states(ctx, lease)
    close_lease(ctx, lease, state)
    if state then place(ctx, state) end
    if bytes then
      lease.status = 'x'
      save_lease(ctx, lease, nil, true)
    end
  end
  if #due > 0 then
    redis.call('INCRBY', key(ctx, 'expired'), #due)
    commit(ctx)
  end
  return #due
end

local function sweep(ctx, limit)
  return end_due(ctx, key(ctx, 'leases'), limit)
end

-- The leases of a project at its in-flight limit may be over, though nobody ended them yet.
local function land(ctx, state)
  if refusal(ctx, state, NOTHING_MORE) ~= 'in_flight' then return end
  if end_due(ctx, key(ctx, 'flight', state.id), 64) == 0 then sweep(ctx, 64) end
end

-- Books the demand on the project and on the client's window, and opens the lease.
local function grant(ctx, state, demand, client)
  local seq = book(ctx, state, demand.requests, demand.tokens)
  local client_seq = client and book(ctx, client, demand.requests, demand.tokens) or 0
  local pick = struct.unpack('<I4', state.tail, 1 + 4 * (state.picks % state.key_count))
  state.picks, state.in_flight = (state.picks + 1) % 4294967296, state.in_flight + 1
  if state.held_by == demand.number then state.held_until, state.held_by = 0, 0 end
  if state.limit_in_flight < UNLIMITED then
    redis.call('ZADD', key(ctx, 'flight', state.id), integer(ctx.now + demand.ttl_ms), open_name(state.id, demand.lease_id))
  end
  place(ctx, state)
  if state.in_flight >= state.limit_in_flight then land(ctx, state) end
  local lease = {
    id = demand.lease_id, status = 'o', project = tonumber(state.id), key = pick, client = demand.client,
    requests = demand.requests, tokens = demand.tokens, seq = seq, client_seq = client_seq,
    granted_at = ctx.now, expires_at = ctx.now + demand.ttl_ms,
  }
  if state.picks % 16 == 0 then ctx.tidy = true end -- time to end old leases, once in a while
  save_lease(ctx, lease)
  set_add(ctx, key(ctx, 'leases'), lease.expires_at, open_name(state.id, lease.id))
  ctx.told = nil
  return { 1, lease.id, lease.project, pick, lease.granted_at, lease.expires_at }
end

-- Gives back what a lease reserved: its call was never made.
local function give_back(ctx, lease)
  local state, client = lease_states(ctx, lease)
  close_lease(ctx, lease, state)
  if state then
    correct(ctx, state, lease.seq, -lease.requests, -lease.tokens)
    if lease.granted_at > state.emptied_at then uncount(ctx, state, lease.granted_at, lease.requests) end
    place(ctx, state)
  end
  if client then correct(ctx, client, lease.client_seq, -lease.requests, -lease.tokens) end
  lease.status = 'r'
  save_lease(ctx, lease, nil, true)
  return state
end
