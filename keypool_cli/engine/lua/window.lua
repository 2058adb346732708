-- The sliding window and the days of one STATE. advance() only reads; the others also write the ring.

local flush_tail, each_entry, drop_expired, advance, next_expiry
local size_ring, book, uncount, add_to_entry, correct, of_later_days

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

-- Which day a request was booked on, the clock says, and that may be wrong and set right. So the counts
-- of the days that were counted last are kept, wherever they lie, and a day counts what was booked on it
-- or on later ones: on those by a clock that was ahead, or so near this day's end that it counts in
-- both. day: 'day' or 'utc', whose it is.
local function others_of(state, day)
  local others, bytes = {}, state[day .. '_others']
  for from = 1, bytes ~= NO_DAYS and #bytes or 0, DAY_SIZE do
    local at, requests = unpack_bytes(DAY, bytes, from)
    if requests > 0 then others[#others + 1] = { at = at, requests = requests } end
  end
  return others
end

local function keep_others(state, day, others)
  local parts = {}
  for i = 1, min(#others, MOST_DAYS) do parts[i] = pack_bytes(DAY, others[i].at, others[i].requests) end
  set(state, day .. '_others', sub(table.concat(parts) .. NO_DAYS, 1, #NO_DAYS))
end

-- the part of a day's count that counts on a later day as well
function of_later_days(state, day)
  local requests = 0
  for _, other in ipairs(others_of(state, day)) do
    if other.at > state[day .. '_at'] then requests = requests + other.requests end
  end
  return requests
end

-- Another day begins, or an earlier one goes on.
local function roll(state, day, at)
  local count, was_at, counted, kept = day .. '_requests', state[day .. '_at'], 0, {}
  local others = others_of(state, day)
  table.insert(others, 1, { at = was_at, requests = state[count] - of_later_days(state, day) })
  for _, other in ipairs(others) do
    if other.at >= at then counted = counted + other.requests end
    if other.at ~= at and other.requests > 0 then kept[#kept + 1] = other end
  end
  keep_others(state, day, kept)
  set(state, day .. '_at', at)
  state[count] = counted
end

local function roll_days(ctx, state)
  if ctx.day_at ~= state.day_at then roll(state, 'day', ctx.day_at) end
  if ctx.utc_at ~= state.utc_at then roll(state, 'utc', ctx.utc_at) end
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

-- Counts requests on the next day too.
local function book_ahead(state, day, at, requests)
  local others = others_of(state, day)
  for _, other in ipairs(others) do
    if other.at == at then
      other.requests = other.requests + requests
      return keep_others(state, day, others)
    end
  end
  table.insert(others, 1, { at = at, requests = requests })
  keep_others(state, day, others)
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
  local utc_end = ctx.utc_at + DAY_MS
  if ctx.now >= ctx.day_end - ctx.guard_ms then book_ahead(state, 'day', ctx.day_end, requests) end
  if ctx.now >= utc_end - ctx.guard_ms then book_ahead(state, 'utc', utc_end, requests) end
  state.dirty = true
  return state.seq + state.closed
end

-- Takes requests off the day that an instant lies in, which is the last known that begins by then.
local function uncount_on(state, day, at, requests)
  local count, others = day .. '_requests', others_of(state, day)
  local found = { at = state[day .. '_at'], requests = state[count] - of_later_days(state, day) }
  for _, other in ipairs(others) do
    if other.at <= at and (other.at > found.at or found.at > at) then found = other end
  end
  if found.at > at then return end
  requests = min(requests, found.requests)
  found.requests = found.requests - requests
  if found.at >= state[day .. '_at'] then state[count] = state[count] - requests end
  keep_others(state, day, others)
end

-- Takes back requests booked at an instant from each count that holds them.
function uncount(ctx, state, at, requests)
  uncount_on(state, 'day', at + ctx.guard_ms, requests)
  uncount_on(state, 'utc', at + ctx.guard_ms, requests)
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
