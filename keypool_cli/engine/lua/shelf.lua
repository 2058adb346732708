-- Leases lie in hashes, each with those that are forgotten at about the same time: a key for each,
-- with its own time to live, costs the server twice as much.

local put_lease, read_lease, read_leases, move_lease

do -- Lua has room for 200 local names in one scope

local function shelf_of(expires_at)
  local until_at = expires_at + KEEP_ANSWER_MS
  return (until_at - until_at % SHELF_MS) / SHELF_MS
end

-- Begins a hash, which outlives its leases, and drops the one that has: a server may stop for as long
-- as it takes where it ends by its time to live.
local function begin_shelf(ctx, number, lease_id, bytes)
  local first, name, shelves = floor(ctx.now / SHELF_MS), key(ctx, 'lease', number), {}
  for each, known in pairs(ctx.model.shelves) do
    if each >= first then shelves[each] = known end
  end
  shelves[number] = name
  ctx.model.shelves, ctx.model.shelf_end = shelves, 0
  -- too long for the server's small form of a hash, where each field takes the longer the more there are
  call('HSET', name, '', rep('\0', 65), lease_id, bytes)
  call('PEXPIRE', name, (number + 2) * SHELF_MS - ctx.now)
  call('UNLINK', key(ctx, 'lease', first - 1))
end

-- the hash of those that expire then, and its number
local function shelf_for(model, expires_at)
  local number = shelf_of(expires_at)
  local name = model.shelves[number]
  if name then
    model.shelf_from, model.shelf_last = number * SHELF_MS - KEEP_ANSWER_MS, name
    model.shelf_end = model.shelf_from + SHELF_MS
  end
  return name, number
end

function put_lease(ctx, lease_id, expires_at, bytes)
  local model, name, number = ctx.model, nil, nil
  if expires_at >= model.shelf_from and expires_at < model.shelf_end then
    name = model.shelf_last -- mostly it is that of the lease before
  else
    name, number = shelf_for(model, expires_at)
  end
  if not name then
    begin_shelf(ctx, number, lease_id, bytes)
  elseif ctx.sets then
    add(ctx, 'HSET', name, lease_id, bytes)
  else
    call('HSET', name, lease_id, bytes)
  end
  if ctx.leases then ctx.leases[lease_id] = bytes end
end

-- Looks first where this server has written, then wherever one could lie.
local function look_for(ctx, lease_id)
  local shelves, first = ctx.model.shelves, floor(ctx.now / SHELF_MS)
  for number, name in pairs(shelves) do
    local bytes = call('HGET', name, lease_id)
    if bytes then return bytes, name end
  end
  for number = first, shelf_of(ctx.now + MOST_TTL_MS) do
    local name = key(ctx, 'lease', number)
    local bytes = not shelves[number] and call('HGET', name, lease_id)
    if bytes then return bytes, name end
  end
end

-- expires_at: where it is known
function read_lease(ctx, lease_id, expires_at)
  local bytes = ctx.leases and ctx.leases[lease_id]
  if bytes then return bytes end
  if expires_at then return call('HGET', key(ctx, 'lease', shelf_of(expires_at)), lease_id) end
  local model = ctx.model -- mostly it lies with the one before
  bytes = model.shelf and call('HGET', model.shelf, lease_id)
  if bytes then return bytes end
  bytes, model.shelf = look_for(ctx, lease_id)
  return bytes
end

-- Reads many in one go, those that lie together.
function read_leases(ctx, lease_ids)
  ctx.leases = {}
  local found = ctx.model.shelf and call('HMGET', ctx.model.shelf, unpack(lease_ids)) or {}
  for i, bytes in ipairs(found) do
    if bytes then ctx.leases[lease_ids[i]] = bytes end
  end
end

-- to another hash, where it is to be forgotten later
function move_lease(ctx, lease_id, was, expires_at, bytes)
  put_lease(ctx, lease_id, expires_at, bytes)
  if shelf_of(was) ~= shelf_of(expires_at) then call('HDEL', key(ctx, 'lease', shelf_of(was)), lease_id) end
end

end
