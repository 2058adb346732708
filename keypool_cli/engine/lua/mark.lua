-- mark: what a refusal on one model means for its project on this one.
-- ARGV 2  {days, projects, mark, granted_at, key id}   answers {now, how many it applied to}
local function mark_projects(keys, argv)
  local ctx = open(keys, argv)
  local days, ids, mark, granted_at, key_id = unpack(ctx.args)
  set_days(ctx, days)
  if not enter(ctx) then return cmsgpack.pack({ ctx.now, 0 }) end
  local count = 0
  for _, id in ipairs(ids) do
    local state = get_state(ctx, integer(id))
    if state then
      advance(ctx, state)
      if apply_mark(ctx, state, mark, granted_at, key_id) then count = count + 1 end
      place(ctx, state)
    end
  end
  commit(ctx)
  return cmsgpack.pack({ ctx.now, count })
end

-- reset: what refusals did to projects on this model is forgotten.
-- ARGV 2  {days, projects, counters, failures}
--         counters: the minute windows and day counts too; failures: back-off growth, exclusions
--         and disabling too
-- answers {now, states before, as snapshot gives them}
local function empty_windows(ctx, state)
  call('DEL', key(ctx, 'ring', state.id))
  state.seq = state.seq + state.closed + 1
  state.ring_head, state.ring_count, state.closed, state.requests, state.tokens = 0, 0, 0, 0, 0
  state.open_requests, state.open_tokens = 0, 0
  state.day_requests, state.utc_requests = 0, 0
  set(state, 'emptied_seq', state.seq)
  for _, name in ipairs({ 'day_others', 'utc_others' }) do set(state, name, NO_DAYS) end
end

-- {id, requests, tokens, day requests, in flight, cool_until, wide_until, failures, flags, keys,
--  limit_requests, limit_tokens, limit_day, limit_in_flight, why, opens_at, utc requests}
local function view(ctx, state)
  local opens_at, why = fits_at(ctx, state, NOTHING_MORE)
  return {
    tonumber(state.id), state.requests, state.tokens, state.day_requests, state.in_flight,
    state.cool_until, state.wide_until, state.failures, state.flags, state.key_count,
    state.limit_requests, state.limit_tokens, state.limit_day, state.limit_in_flight,
    why or '', opens_at or 0, state.utc_requests,
  }
end

local function reset_state(ctx, state, counters, failures)
  set(state, 'cool_until', 0)
  set(state, 'wide_until', 0)
  set(state, 'reset_at', ctx.now)
  if counters then empty_windows(ctx, state) end
  if failures then
    set(state, 'failures', 0)
    set_flag(state, FLAG_EXCLUDED, false)
    set_flag(state, FLAG_USABLE, true)
  end
  place(ctx, state)
end

local function reset(keys, argv)
  local ctx = open(keys, argv)
  local days, ids, counters, failures = unpack(ctx.args)
  set_days(ctx, days)
  if not enter(ctx) then return cmsgpack.pack({ ctx.now, {} }) end
  local before, touched = {}, {}
  for _, id in ipairs(ids) do
    local state = get_state(ctx, integer(id))
    if state then
      advance(ctx, state)
      before[#before + 1], touched[#touched + 1] = view(ctx, state), state
      reset_state(ctx, state, counters, failures)
    end
  end
  serve_pools_of(ctx, touched)
  commit(ctx)
  return cmsgpack.pack({ ctx.now, before })
end

redis.register_function('NAME_mark', mark_projects)
redis.register_function('NAME_reset', reset)
