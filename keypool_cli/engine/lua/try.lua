-- What the quick way does to one project. Its fields are names here, not a table's: STATE_FIELDS stands
-- for all of STATE's, which is why try() is as long as it is.

local try

do

-- the last project's: mostly the next one has the same
local standing_bytes, pools, ready_names, names, layout, keys_at, STANDING_FIELDS
local least = FAR -- bytes of a record whose standing is as long, to its first key
local layouts = {} -- by the bytes of what stands: of a record to its first key
local writes = {} -- by slot: of STATE and tail to the entry in it
local SETTLED = 5 -- of STATE's fields, the first so many; what a settlement mostly writes
local settled_layout
local window = {} -- what drop_expired(), flush_tail() and add_to_entry() work on

local function lay_out(size)
  keys_at = STATE.size + TAIL_BYTES + size + 1
  layouts[size] = layouts[size] or STATE.layout .. 'c' .. TAIL_BYTES .. 'c' .. size .. 'I4'
  layout, least = layouts[size], keys_at + 3
  if settled_layout then return end
  settled_layout = '<'
  for i = 1, SETTLED do settled_layout = settled_layout .. FIELDS.state[i][2] end
  for slot = 0, TAIL - 1 do writes[slot] = STATE.layout .. 'c' .. 1 + slot * ENTRY_SIZE .. sub(ENTRY, 2) end
end

local function read_standing(ctx, standing)
  STANDING_FIELDS = unpack_bytes(STANDING.layout, standing)
  pools, ready_names = numbers_at(standing, STANDING.size + 1, pool_count, 'I4'), {}
  for i = 1, pool_count do ready_names[i] = ready_key(ctx, pools[i], priority) end
  standing_bytes, names = standing, ctx.names
end

-- Books requests and tokens on a project, which must be of the pool if that is given; or, where no
-- requests are given, ends a lease booked as entry `number` that took so many tokens more than it
-- had reserved. Answers the id of a key, the number of the entry, what is now stored at the start
-- of the project's record, and its score. Nil, with nothing written, when something is unusual.
function try(ctx, id, name, bytes, asked, wanted, pool_id, number)
  if #bytes < least then
    lay_out(standing_size(bytes, STATE.size + TAIL_BYTES + 1))
    if #bytes < least then return nil end
  end
  local STATE_FIELDS, tail, standing, key_id = unpack_bytes(layout, bytes)
  if standing ~= standing_bytes or names ~= ctx.names then
    local size = standing_size(standing, 1)
    if size ~= #standing then
      lay_out(size)
      return try(ctx, id, name, bytes, asked, wanted, pool_id, number)
    end
    read_standing(ctx, standing)
  end
  local now = ctx.now
  -- one with a score is usable, cools not and is kept for nobody
  if score == 0 or touched_at > now or limit_in_flight < UNLIMITED
    or day_at ~= ctx.day_at or utc_at ~= ctx.utc_at then
    return nil
  end

  local left_at = now - ctx.window_ms -- what was booked before has left the window
  local more = asked -- than SETTLED changes
  if closed > 0 and oldest_at < left_at then
    window.id, window.ring_slots, window.ring_head, window.ring_count = id, ring_slots, ring_head, ring_count
    window.seq, window.oldest_at, window.requests, window.tokens = seq, oldest_at, requests, tokens
    window.closed, window.tail = closed, tail
    drop_expired(ctx, window, left_at)
    ring_head, ring_count, seq, closed = window.ring_head, window.ring_count, window.seq, window.closed
    oldest_at, requests, tokens, more = window.oldest_at, window.requests, window.tokens, true
  end
  if open_requests > 0 and open_at < left_at then
    requests, tokens, seq = requests - open_requests, tokens - open_tokens, seq + 1
    open_requests, open_tokens, more = 0, 0, true
  end

  local index = asked and closed or number - seq
  if asked then
    if pool_id and not is_among(pools, pool_id) then return nil end
    requests, day_requests, utc_requests = requests + asked, day_requests + asked, utc_requests + asked
  else
    if failures > 0 then return nil end
    if index < 0 or index > closed or index == closed and open_requests == 0 then wanted = 0 end
  end
  tokens = tokens + wanted
  local most = limit_day - MOST_REQUESTS
  if requests >= limit_requests or tokens >= limit_tokens or day_requests > most
    or utc_requests > most then
    return nil
  end

  local slot, entry_at, entry_requests, entry_tokens -- the entry of the tail that changes, if one does
  if asked then
    if open_requests > 0 and now - open_from > gap_ms then
      if closed >= ring_slots then return nil end
      if closed - ring_count == TAIL then
        window.id, window.ring_slots, window.ring_head, window.ring_count = id, ring_slots, ring_head, ring_count
        window.seq, window.tail = seq, tail
        flush_tail(ctx, window)
        ring_count = window.ring_count
      end
      slot, entry_at, entry_requests, entry_tokens = (seq + closed) % TAIL, open_at, open_requests, open_tokens
      if closed == 0 then oldest_at = open_at end
      closed, open_requests, open_tokens = closed + 1, 0, 0
    end
    if open_requests == 0 then open_from = now end
    open_at, open_requests, open_tokens = now, open_requests + asked, open_tokens + wanted
    if picks % key_count > 0 then key_id = unpack_bytes('<I4', bytes, keys_at + 4 * (picks % key_count)) end
    picks, in_flight, number = (picks + 1) % 4294967296, in_flight + 1, seq + closed
    if picks % 16 == 0 then ctx.tidy = true end
  else
    if wanted == 0 or index == closed then
      open_tokens = open_tokens + wanted
    elseif index < ring_count then
      window.id, window.ring_slots, window.ring_head, window.ring_count = id, ring_slots, ring_head, ring_count
      add_to_entry(ctx, window, index, 0, wanted)
    else
      slot = number % TAIL
      entry_at, entry_requests, entry_tokens = unpack_bytes(ENTRY, tail, 2 + slot * ENTRY_SIZE)
      entry_tokens = entry_tokens + wanted
    end
    if in_flight > 0 then in_flight = in_flight - 1 end
  end
  if ring_count == 0 and ring_head > 0 then
    ring_head = 0
    call('DEL', key(ctx, 'ring', id))
  end

  local grows = (closed > 0 and oldest_at or open_at) + ctx.window_ms + 1
  if (closed > 0 or open_requests > 0) and (stale_at == 0 or grows < stale_at) then
    stale_at, more = grows, true
    add(ctx, 'ZADD', key(ctx, 'stale'), grows, id)
  end
  local was, tokens_left, requests_left = score, limit_tokens - tokens, limit_requests - requests
  if tokens_left > UNLIMITED then tokens_left = UNLIMITED end
  if requests_left > MOST_SCORED then requests_left = MOST_SCORED end
  touched_at, score = now, tokens_left * 4096 + requests_left -- as headroom() has it, uncalled
  for i = 1, score ~= was and #ready_names or 0 do
    if ctx.sets then add(ctx, 'ZADD', ready_names[i], score, id) else call('ZADD', ready_names[i], score, id) end
  end
  local written
  if slot then
    written = pack_bytes(writes[slot], STATE_FIELDS, tail, entry_at, entry_requests, entry_tokens)
  elseif more then
    written = pack_bytes(STATE.layout, STATE_FIELDS)
  else
    written = pack_bytes(settled_layout, tokens, open_tokens, touched_at, in_flight, score)
  end
  call('SETRANGE', name, 0, written)
  return key_id, number, written, score
end

end
