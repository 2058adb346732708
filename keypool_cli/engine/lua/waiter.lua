-- A waiting demand: its place in a line, and its record.

local function queue_key(ctx, pool)
  return key(ctx, 'line', pool)
end

-- what serve looks at rides along, so that most waiters are passed over unread
local function member_name(waiter)
  return format('%012d:%d:%d/%d/%d:%d:%d:%d:%s', waiter.number, waiter.since, waiter.client, waiter.client_rpm,
    waiter.client_tpm, waiter.requests, waiter.tokens, waiter.deadline, waiter.lease_id)
end

local function brief_of(member)
  local since, limits, requests, tokens, deadline, lease_id =
    string.match(member, '^%d+:(%d+):([^:]+):(%d+):(%d+):(%d+):(.*)$')
  return {
    member = member, lease_id = lease_id, limits = limits, requests = tonumber(requests), tokens = tonumber(tokens),
    since = tonumber(since), deadline = tonumber(deadline),
  }
end

local function save_waiter(ctx, waiter)
  local held = waiter.held or ''
  waiter.held_size = #held
  call('HSET', key(ctx, 'waiter'), waiter.lease_id, WAITER.encode(waiter) .. held .. waiter.bytes)
end

local function read_waiter(bytes)
  local stored, from = WAITER.decode(bytes)
  local demand_at = from + stored.held_size
  local waiter = demand_of(sub(bytes, demand_at))
  waiter.number, waiter.since, waiter.pool = stored.number, stored.since, stored.pool
  if stored.held_size > 0 then
    waiter.held = sub(bytes, from, demand_at - 1)
    waiter.affinity = waiter.held
  end
  return waiter
end
