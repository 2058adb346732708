-- The sliding window and the days of one STATE. advance() only reads; the others also write the ring.

local flush_tail, each_entry, drop_expired, advance, next_expiry
local size_ring, book, uncount, add_to_entry, correct

do -- Lua has room for 200 local names in one scope

local function ring_entry(ctx, state, index, count)
  local slot = (state.ring_head + index) % state.ring_slots
  local from = slot * ENTRY_SIZE
  return call('GETRANGE', key(ctx, 'ring', state.id), from, from + count * ENTRY_SIZE - 1), slot
end

-- where the entry of that number lies in the tail
local function tail_at(number)
  return 2 + number % TAIL * ENTRY_SIZE
end

local function put_in_tail(state, number, at, requests, tokens)
  local from = tail_at(number)
  local entry = pack_bytes(ENTRY, at, requests, tokens)
  state.tail = sub(state.tail, 1, from - 1) .. entry .. sub(state.tail, from + ENTRY_SIZE)
end

-- Puts the tail, which is full, into the ring, which has room.
function flush_tail(ctx, state)
  local from, slot = tail_at(state.seq + state.ring_count), (state.ring_head + state.ring_count) % state.ring_slots
  local entries, name = sub(state.tail, from) .. sub(state.tail, 2, from - 1), key(ctx, 'ring', state.id)
  local fit = min(TAIL, state.ring_slots - slot) * ENTRY_SIZE
  call('SETRANGE', name, slot * ENTRY_SIZE, sub(entries, 1, fit))
  if fit < #entries then call('SETRANGE', name, 0, sub(entries, fit + 1)) end
  state.ring_count = state.ring_count + TAIL
end

-- Calls visit(at, requests, tokens) for each closed entry, oldest first, until it answers true.
function each_entry(ctx, state, visit)
  local index = 0
  while index < state.ring_count do
    local slot = (state.ring_head + index) % state.ring_slots
    local count = min(16, state.ring_count - index, state.ring_slots - slot)
    local bytes = ring_entry(ctx, state, index, count)
    for i = 0, count - 1 do
      if visit(unpack_bytes(ENTRY, bytes, 1 + i * ENTRY_SIZE)) then return end
    end
    index = index + count
  end
  for number = state.seq + index, state.seq + state.closed - 1 do
    if visit(unpack_bytes(ENTRY, state.tail, tail_at(number))) then return end
  end
end

function drop_expired(ctx, state, cutoff)
  local dropped, requests, tokens = 0, 0, 0
  each_entry(ctx, state, function(at, entry_requests, entry_tokens)
    state.oldest_at = at
    if at >= cutoff then return true end
    dropped, requests, tokens = dropped + 1, requests + entry_requests, tokens + entry_tokens
  end)
  local of_ring = min(dropped, state.ring_count)
  state.ring_head, state.ring_count = (state.ring_head + of_ring) % state.ring_slots, state.ring_count - of_ring
  state.closed, state.seq = state.closed - dropped, state.seq + dropped
  state.requests, state.tokens = state.requests - requests, state.tokens - tokens
end

-- after a clock set far back: everything in the window counts as spent just now
local function restart_window(state, now)
  state.seq, state.closed, state.ring_count, state.ring_head = state.seq + state.closed, 0, 0, 0
  state.open_requests, state.open_tokens = state.requests, state.tokens
  state.open_from, state.open_at, state.touched_at = now, now, now
end

-- Another day begins. day: 'day' or 'utc', whose it is. Where a clock was wrong and it is one before
-- the day that was counted, the requests of both count: those of the later one were truly made now.
local function roll(state, day, at, day_before)
  local count_name, carry_name, past_name = day .. '_requests', day .. '_carry', day .. '_past'
  local count, was_at = state[count_name], state[day .. '_at']
  if at > was_at then
    local carry = was_at == day_before and state[carry_name] or 0
    set(state, past_name, count - carry)
    set(state, past_name .. '_at', was_at)
    set(state, carry_name, 0)
    state[count_name] = carry
  else
    set(state, carry_name, count)
    if at <= state[past_name .. '_at'] then
      state[count_name] = count + state[past_name]
      set(state, past_name, 0)
      set(state, past_name .. '_at', 0)
    end
  end
  set(state, day .. '_at', at)
end

local function roll_days(ctx, state)
  if ctx.day_at ~= state.day_at then roll(state, 'day', ctx.day_at, ctx.day_before) end
  if ctx.utc_at ~= state.utc_at then roll(state, 'utc', ctx.utc_at, ctx.utc_at - DAY_MS) end
end

-- Brings a state to the present: what has left the window is no longer counted.
function advance(ctx, state)
  if state.advanced then return end
  state.advanced = true
  if state.touched_at - ctx.now > BIG_STEP_MS then restart_window(state, ctx.now) end
  local now = max(ctx.now, state.touched_at)
  local cutoff = now - ctx.window_ms
  if state.closed > 0 and state.oldest_at < cutoff then drop_expired(ctx, state, cutoff) end
  if state.open_requests > 0 and state.open_at < cutoff then
    state.requests, state.tokens = state.requests - state.open_requests, state.tokens - state.open_tokens
    state.open_requests, state.open_tokens, state.seq = 0, 0, state.seq + 1
  end
  if state.held_by ~= 0 and state.held_until <= now then keep_for(state, 0, 0) end
  state.now, state.touched_at = now, now
  roll_days(ctx, state)
end

-- when the oldest entry leaves the window; 0: it is empty
function next_expiry(ctx, state)
  if state.closed > 0 then return state.oldest_at + ctx.window_ms + 1 end
  if state.open_requests > 0 then return state.open_at + ctx.window_ms + 1 end
  return 0
end

local function close_open_entry(ctx, state)
  if state.closed - state.ring_count == TAIL then flush_tail(ctx, state) end
  put_in_tail(state, state.seq + state.closed, state.open_at, state.open_requests, state.open_tokens)
  if state.closed == 0 then state.oldest_at = state.open_at end
  state.closed = state.closed + 1
  state.open_requests, state.open_tokens = 0, 0
end

-- Gives the ring at least so many slots; its entries stay in order.
local function grow_ring(ctx, state, slots)
  if slots <= state.ring_slots then return end
  if state.ring_count > 0 and state.ring_head > 0 then
    local name, from = key(ctx, 'ring', state.id), state.ring_head * ENTRY_SIZE
    local last = state.ring_slots * ENTRY_SIZE - 1
    call('SET', name, call('GETRANGE', name, from, last) .. call('GETRANGE', name, 0, from - 1))
  end
  state.ring_head, state.dirty = 0, true
  set(state, 'ring_slots', slots)
end

-- entries kept apart up to 1,000 requests a minute: exact; beyond, 244 of at most 250 ms each
function size_ring(ctx, state)
  local exact = state.limit_requests <= 1000
  set(state, 'gap_ms', exact and 0 or 250)
  grow_ring(ctx, state, exact and max(state.limit_requests, 1) or 244)
end

-- Books at the present; answers the number of the entry. A full log merges, which is safe; an
-- exact one, which only entries emptied by releases can fill, grows instead.
function book(ctx, state, requests, tokens)
  if state.open_requests > 0 and state.now - state.open_from > state.gap_ms then
    if state.closed == state.ring_slots and state.gap_ms == 0 then
      grow_ring(ctx, state, min(2 * state.ring_slots, MOST_SLOTS))
    end
    if state.closed < state.ring_slots then close_open_entry(ctx, state) end
  end
  if state.open_requests == 0 then state.open_from = state.now end
  state.open_at = state.now
  state.open_requests, state.open_tokens = state.open_requests + requests, state.open_tokens + tokens
  state.requests, state.tokens = state.requests + requests, state.tokens + tokens
  state.day_requests, state.utc_requests = state.day_requests + requests, state.utc_requests + requests
  if ctx.now >= ctx.day_end - ctx.guard_ms then set(state, 'day_carry', state.day_carry + requests) end
  if ctx.now >= ctx.utc_at + DAY_MS - ctx.guard_ms then set(state, 'utc_carry', state.utc_carry + requests) end
  state.dirty = true
  return state.seq + state.closed
end

local function take(state, name, requests)
  set(state, name, max(0, state[name] - requests))
end

-- Takes back requests booked at an instant from each count that holds them.
function uncount(ctx, state, at, requests)
  at = at + ctx.guard_ms
  if at >= state.day_at then
    state.day_requests = max(0, state.day_requests - requests)
  elseif at >= state.day_past_at then
    take(state, 'day_past', requests)
  end
  if at >= ctx.day_end then take(state, 'day_carry', requests) end
  if at >= state.utc_at then
    state.utc_requests = max(0, state.utc_requests - requests)
  elseif at >= state.utc_past_at then
    take(state, 'utc_past', requests)
  end
  if at >= ctx.utc_at + DAY_MS then take(state, 'utc_carry', requests) end
end

-- to a closed entry
function add_to_entry(ctx, state, index, requests, tokens)
  if index >= state.ring_count then
    local number = state.seq + index
    local at, entry_requests, entry_tokens = unpack_bytes(ENTRY, state.tail, tail_at(number))
    return put_in_tail(state, number, at, entry_requests + requests, entry_tokens + tokens)
  end
  local bytes, slot = ring_entry(ctx, state, index, 1)
  local at, entry_requests, entry_tokens = unpack_bytes(ENTRY, bytes)
  local entry = pack_bytes(ENTRY, at, entry_requests + requests, entry_tokens + tokens)
  call('SETRANGE', key(ctx, 'ring', state.id), slot * ENTRY_SIZE, entry)
end

-- Changes what entry `seq` holds, if it is still in the window.
function correct(ctx, state, seq, requests, tokens)
  local index = seq - state.seq
  if index < 0 or index > state.closed or (requests == 0 and tokens == 0) then return end
  if index == state.closed then
    if state.open_requests == 0 then return end
    state.open_requests, state.open_tokens = state.open_requests + requests, state.open_tokens + tokens
  else
    add_to_entry(ctx, state, index, requests, tokens)
  end
  state.requests, state.tokens = state.requests + requests, state.tokens + tokens
  state.dirty = true
end

end
