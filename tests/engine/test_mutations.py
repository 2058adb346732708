"""The proof can fail: each rule of the scripts is broken once, and a test named here must notice.

A row is what breaks, the text of the scripts, what replaces it, and the check. The mutated
library runs beside the real one, under a name of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.exceptions import ResponseError

from keypool_cli.engine.types import MarkAction
from tests.engine import test_choose as choose
from tests.engine import test_load as load
from tests.engine import test_quick as quick
from tests.engine import test_settle as settle
from tests.engine import test_waiting as waiting
from tests.engine import test_window as window
from tests.support.engine_machine import EngineMachine
from tests.support.live_engine import NOON, LiveEngine, a_project, live_engine

Check = Callable[[LiveEngine], object]

QUICK = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=150,
    stateful_step_count=40,
    phases=[Phase.generate],
)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One rule broken."""

    breaks: str
    text: str
    replacement: str
    check: Check
    long_way: bool = False
    """Whether acquire goes the long way always: the quick one keeps the rule too."""


def machine(live: LiveEngine) -> None:
    class Machine(EngineMachine):
        pass

    Machine.live = live
    run_state_machine_as_test(Machine, settings=QUICK)


def a_minute(live: LiveEngine) -> None:
    window.test_a_booking_counts_for_the_minute_and_the_guard_to_the_ms(
        live, {"tpm": 300}, {"tokens": 300}
    )


def a_minutes_requests(live: LiveEngine) -> None:
    window.test_a_booking_counts_for_the_minute_and_the_guard_to_the_ms(
        live, {"rpm": 3}, {"requests": 3}
    )


def with_patches(test: Callable[..., object], live: LiveEngine) -> None:
    with pytest.MonkeyPatch.context() as patches:
        test(live, patches)


def a_plain_day(live: LiveEngine) -> None:
    window.test_the_days_requests_come_back_at_pacific_midnight(live, NOON)


def the_guard_of_a_day(live: LiveEngine) -> None:
    window.test_a_request_within_the_guard_of_midnight_counts_in_both_days(live, 500, 1)


def a_release_after_midnight(live: LiveEngine) -> None:
    window.test_a_release_gives_the_day_back_what_it_counted(live, late=True)


def a_later_cooldown(live: LiveEngine) -> None:
    settle.test_a_later_cooldown_wins_over_an_earlier_one_in_either_order(live, "cool")


def a_later_wide_cooldown(live: LiveEngine) -> None:
    settle.test_a_later_cooldown_wins_over_an_earlier_one_in_either_order(live, "wide")


def a_reset_at_the_same_instant(live: LiveEngine) -> None:
    settle.test_an_answer_to_a_call_granted_at_or_before_a_reset_does_not_cool(
        live, 0, applied=False
    )


def an_unheard_reset(live: LiveEngine) -> None:
    load.test_a_reset_that_was_not_heard_of_is_made_up_for(live, MarkAction.COOL)


def a_restored_cooldown(live: LiveEngine) -> None:
    load.test_a_restored_cooldown_holds_unless_a_reset_covers_its_call(live, "cool")


def an_excluded_project(live: LiveEngine) -> None:
    choose.test_a_project_that_offers_nothing_is_never_chosen(live, {"flags": 3})


def an_exclusion_by_a_refusal(live: LiveEngine) -> None:
    settle.test_a_project_excluded_or_disabled_stays_so_until_failures_are_reset(
        live, MarkAction.EXCLUDE
    )


def on_project(check: Check) -> Check:
    """A test of test_settle that starts with its project loaded."""

    def run(live: LiveEngine) -> None:
        live.load(a_project(rpm=100))
        check(live)

    return run


def when_it_leaves(end: str) -> Check:
    return lambda live: waiting.test_a_waiter_that_left_leaves_nothing_behind(live, end)


def kept_free_until(end: str) -> Check:
    return lambda live: (
        waiting.test_a_project_kept_free_goes_to_others_the_moment_its_waiter_leaves(live, end)
    )


MUTATIONS = [
    # the window
    Mutation("a window one ms short", "local cutoff = now - ctx.window_ms", "local cutoff = now - ctx.window_ms + 1", a_minute),
    Mutation("a window one ms long", "local cutoff = now - ctx.window_ms", "local cutoff = now - ctx.window_ms - 1", a_minute),
    Mutation("one request too many", "> state.limit_requests then return 'rpm'", "> state.limit_requests + 1 then return 'rpm'", a_minutes_requests),
    Mutation("one token too many", "> state.limit_tokens then return 'tpm'", "> state.limit_tokens + 1 then return 'tpm'", a_minute),
    Mutation("an entry that leaves with its first booking", "  state.open_at = state.now\n", "  if state.open_requests == 0 then state.open_at = state.now end\n", window.test_bookings_a_quarter_second_apart_share_an_entry_that_leaves_with_the_last),
    Mutation("entries wider than a quarter second", "'gap_ms', exact and 0 or 250)", "'gap_ms', exact and 0 or 2500)", window.test_bookings_further_apart_leave_one_by_one),
    Mutation("a change of what stands that is not written", "then state[name], state.standing = value, nil end", "then state[name] = value end", machine),
    Mutation("another project's standing taken for its own", "  if not standing or sub(bytes, from, from + #standing - 1) ~= standing then", "  if not standing then", machine),
    Mutation("a demand on the last one's terms", "if demand.terms ~= terms then", "if not demand.terms then", machine),
    Mutation("quick demands on the last one's terms' length", "  if #bytes < asked_size then", "  if not known_terms then", quick.test_an_id_may_be_shorter_than_the_one_before),
    Mutation("a quick settlement on the last one's ending", "  if ending ~= known_ending then", "  if not known_ending then", quick.test_a_refusal_after_a_success_of_the_same_client_cools),
    Mutation("an entry in the ring that no quick settlement corrects", "    elseif index < ring_count then", "    elseif false then", lambda live: quick.settle_its_entry(live, 0)),
    Mutation("another client's lease settled quickly", " or client ~= settler", "", quick.test_another_clients_lease_is_missing_after_one_of_the_own),
    Mutation("a forgotten lease settled quickly", " or expires_at + KEEP_ANSWER_MS <= ctx.now then return nil end\n  if actual", " then return nil end\n  if actual", quick.test_a_lease_that_nobody_ended_is_forgotten_ten_minutes_past_its_end),
    Mutation("another model's ready sets", " or names ~= ctx.names then", " then", quick.test_models_that_take_turns_have_each_its_own_ready_sets),
    Mutation("those who wait overtaken quickly", "= pool.policy == 0 and ctx.waiting == 0 and meta_bytes", "= pool.policy == 0 and meta_bytes", quick.test_a_demand_does_not_overtake_one_that_waits_since_before_the_last),
    Mutation("a settlement on the last one's ending", "if item.ending ~= ending then", "if not item.ending then", machine),
    Mutation("entries shared below 1,000 requests a minute", "'gap_ms', exact and 0 or 250)", "'gap_ms', 250)", window.test_a_limit_lowered_below_what_is_booked_waits_until_it_fits),
    Mutation("a ring that forgets what it held when it grows", " .. call('GETRANGE', name, 0, from - 1))", ")", window.test_a_window_outlives_a_ring_that_grows_while_it_wraps),
    Mutation("a ring grown for a refusal and not remembered", "  state.ring_head, state.dirty = 0, true\n", "  state.ring_head = 0\n", window.test_a_clients_window_outlives_a_ring_that_grows_for_a_demand_that_is_refused),
    Mutation("a full ring that loses its oldest entry", "      if closed >= ring_slots then return nil end\n", "", quick.test_a_ring_full_of_what_was_given_back_loses_nothing),
    Mutation("a day that takes more than it has left", "or day_requests > most\n", "\n", lambda live: quick.test_a_day_nearly_full_takes_no_more_than_it_has_left(live, 1, {"day_requests": 101})),
    Mutation("a UTC day that takes more than it has left", "    or utc_requests > most then", "    then", lambda live: quick.test_a_day_nearly_full_takes_no_more_than_it_has_left(live, 5, {"utc_requests": 101})),
    Mutation("a full ring that merges", "grow_ring(ctx, state, min(2 * state.ring_slots, MOST_SLOTS))", "local _ = 0", window.test_entries_emptied_by_releases_do_not_blur_the_window),
    Mutation("time that runs back", "local now = max(ctx.now, state.touched_at)", "local now = ctx.now", window.test_a_clock_that_jumps_back_and_forth_books_no_earlier_than_it_has_been),
    Mutation("a clock set far back that frees the window", "state.open_requests, state.open_tokens = state.requests, state.tokens\n  state.open_from", "state.requests, state.tokens, state.open_requests, state.open_tokens = 0, 0, 0, 0\n  state.open_from", window.test_a_clock_set_far_back_counts_the_window_as_spent_just_now),
    # renewals
    Mutation("a renewal that frees no slot of others", "lease.status ~= 'o' or lease.expires_at <= ctx.now", "lease.status ~= 'o'", choose.test_only_leases_that_are_open_are_renewed),
    Mutation("a renewal of what has ended", "if not lease or lease.status ~= 'o' or", "if not lease or", choose.test_only_leases_that_are_open_are_renewed),
    Mutation("a renewal that shortens", "if expires_at > was then", "if true then", choose.test_a_lease_is_never_renewed_to_end_earlier),
    Mutation("a renewal that the slot does not see", "call('ZADD', key(ctx, 'flight', project), 'XX'", "call('ZADD', key(ctx, 'flight', '0'), 'XX'", choose.test_a_renewed_lease_keeps_its_slot_and_others_do_not),
    Mutation("a renewal that the sweep does not see", "call('ZADD', key(ctx, 'leases'), 'XX'", "call('ZADD', key(ctx, 'leases0'), 'XX'", choose.test_a_renewed_lease_can_be_settled_as_long_as_any_other),
    Mutation("a renewed answer forgotten early", "put_lease(ctx, lease_id, expires_at, bytes)\n  if shelf_of", "put_lease(ctx, lease_id, was, bytes)\n  if shelf_of", choose.test_a_renewed_lease_can_be_settled_as_long_as_any_other),
    Mutation("a renewed lease that lies in two places", "  if shelf_of(was) ~= shelf_of(expires_at) then call('HDEL'", "  if false then call('HDEL'", choose.test_a_renewed_lease_can_be_settled_as_long_as_any_other),
    Mutation("leases kept for ever", "  call('PEXPIRE', name, (number + 2) * SHELF_MS - ctx.now)\n", "", on_project(settle.test_a_lease_record_is_kept_by_the_server_little_longer_than_its_answer)),
    Mutation("leases forgotten before their answers", "(number + 2) * SHELF_MS - ctx.now)", "2 * SHELF_MS)", on_project(settle.test_a_lease_record_is_kept_by_the_server_little_longer_than_its_answer)),
    Mutation("a server that stops to forget leases", "  call('UNLINK', key(ctx, 'lease', first - 1))\n", "", on_project(settle.test_lease_records_that_are_forgotten_go_without_waiting_for_their_time_to_live)),
    Mutation("leases looked for in one place", "  bytes, model.shelf = look_for(ctx, lease_id)\n", "  model.shelf = pairs(model.shelves)(model.shelves)\n", on_project(settle.test_a_lease_is_found_wherever_its_time_to_live_has_put_it)),
    Mutation("leases looked for where this server has put them", "for number = first, shelf_of(ctx.now + MOST_TTL_MS) do", "for number = 1, 0 do", on_project(settle.test_a_lease_that_another_server_wrote_is_found)),
    Mutation("leases looked for less far than they last", "local MOST_TTL_MS = 3600000 ", "local MOST_TTL_MS = 3000000 ", on_project(settle.test_a_lease_that_another_server_wrote_is_found)),
    Mutation("a time to live remembered of what was lost", "model.meta_bytes, model.shelves, model.shelf_end = nil, {}, 0", "model.meta_bytes = nil", on_project(settle.test_records_written_after_all_was_lost_have_a_time_to_live)),
    Mutation("a lease read before it was settled", "  if ctx.leases then ctx.leases[lease_id] = bytes end\n", "", on_project(settle.test_one_lease_settled_twice_in_a_call_is_settled_once)),
    # the days
    Mutation("no limit a day", "if day_opens_at(ctx, state, demand.requests) > 0 then return 'rpd' end", "", a_plain_day),
    Mutation("a day that never ends", "if ctx.day_at ~= state.day_at then", "if false then", a_plain_day),
    Mutation("no guard at midnight", "if ctx.now >= ctx.day_end - ctx.guard_ms then", "if false then", the_guard_of_a_day),
    Mutation("a guard carried past its day", "    if other.at >= at then counted", "    if true then counted", the_guard_of_a_day),
    Mutation("a full next day overlooked", "of_later_days(state, 'day') > most and ctx.day_after or ctx.day_end", "ctx.day_end", window.test_when_the_last_requests_of_a_day_fill_the_next_it_opens_a_day_later),
    Mutation("a full next UTC day overlooked", "(of_later_days(state, 'utc') > most and 2 or 1)", "1", window.test_requests_near_the_end_of_the_utc_day_may_fill_the_next),
    Mutation("the UTC day ignored", "if BOTH_DAYS[state.flags] and state.utc_requests > most then", "if false then", window.test_a_project_counted_by_both_days_waits_for_both),
    Mutation("a day kept past its end", "and ctx.both_from <= now and now < ctx.both_end then return end", "then return end", lambda live: with_patches(window.test_a_daemon_whose_clock_is_behind_does_not_stretch_the_day, live)),
    Mutation("a day forgotten once the next began", "    if other.at ~= at and other.requests > 0 then kept", "    if false then kept", lambda live: window.test_a_clock_set_forward_and_back_again_gives_no_day_more(live, "day_requests")),
    Mutation("a day after it that is not counted", "    if other.at >= at then counted", "    if other.at == at then counted", lambda live: window.test_a_clock_set_forward_and_back_again_gives_no_day_more(live, "day_requests")),
    Mutation("a day forgotten once two more began", "MOST_DAYS = '<I6I4', 10, 3", "MOST_DAYS = '<I6I4', 10, 1", lambda live: window.test_a_clock_that_was_wrong_on_several_days_leaves_the_true_one_its_count(live, [1, 2, 0], "day_requests")),
    Mutation("a day pushed out by empty ones", "    if other.at ~= at and other.requests > 0 then kept", "    if other.at ~= at then kept", window.test_days_on_which_nothing_was_granted_push_no_other_out),
    Mutation("a past day that no reset empties", "{ 'day_others', 'utc_others' }", "{ 'utc_others' }", window.test_counters_reset_while_the_clock_was_wrong_stay_so),
    Mutation("a release that the next day keeps", "uncount_on(state, 'day', at + ctx.guard_ms, requests)", "uncount_on(state, 'day', at, requests)", a_release_after_midnight),
    Mutation("a release from counts emptied since", "if lease.seq >= state.emptied_seq then uncount", "if true then uncount", window.test_a_release_does_not_take_from_counts_emptied_since),
    Mutation("a midnight forgotten where one request fits", "  if left >= MOST_REQUESTS then return expiry end", "  if true then return expiry end", window.test_several_requests_wait_for_midnight_where_one_still_fits),
    # clients
    Mutation("a client without limits", "  local client_at = client_refusal(ctx, client, demand)\n  local state = client_at == nil", "  local client_at = nil\n  local state = client_at == nil", window.test_a_clients_own_limits_hold_across_projects),
    Mutation("a client told its own instant though the pool's is later", "if own and told.at > 0 and client_at >= told.at then", "if own then", window.test_a_client_is_told_the_later_of_its_own_instant_and_the_pools),
    Mutation("a client told the pool's instant though a project is free", "if own and choose(ctx, pool, demand) then return own end", "", window.test_a_client_at_its_limit_is_told_its_own_instant_though_a_project_is_free),
    Mutation("a client's window not settled", "if client then correct(ctx, client, lease.client_seq, 0, actual - lease.tokens) end", "", window.test_a_settled_count_corrects_the_clients_window_too),
    # choosing
    Mutation("a client's release not given back", "  if client then correct(ctx, client, lease.client_seq, -lease.requests, -lease.tokens) end\n", "", window.test_a_release_gives_the_clients_window_back_what_it_held),
    Mutation("spread that takes any", "    if score > best_score then best, best_score = state, score end\n", "    if best_score == 0 then best, best_score = state, score end\n", choose.test_spread_takes_the_project_with_the_most_tokens_left, long_way=True),
    Mutation("pack that takes any", "local policy = pool.policy == 1 and pack or spread", "local policy = spread", choose.test_pack_takes_the_project_with_the_least_left_that_fits),
    Mutation("a lower priority before a lagging score", "    until is_empty(ctx, name) or not freshen(ctx)\n", "    until true\n", choose.test_a_higher_priority_comes_first_though_its_score_lags_behind),
    Mutation("ready sets remembered after they moved", "  ctx.ready = nil\n", "", choose.test_a_demand_after_many_waiters_were_served_finds_what_is_left, long_way=True),
    Mutation("a batch that remembers what its last demand avoids", "demand.terms, demand.avoid = terms, nil", "demand.terms = terms", choose.test_what_one_demand_of_a_batch_must_not_get_the_next_may),
    Mutation("a preference for any project at all", "if not state or not member_of(state, pool.id) then return nil end", "if not state then return nil end", choose.test_a_preferred_project_is_taken_where_it_fits),
    Mutation("a preference ignored", "demand.affinity ~= '' and by_id(ctx, pool, demand.affinity, demand) or by_policy", "by_policy", choose.test_a_preferred_project_is_taken_where_it_fits, long_way=True),
    Mutation("keys that take no turns", "state.picks % state.key_count", "0", choose.test_the_keys_of_a_project_take_turns),
    Mutation("an excluded project offered", "{ [1] = true, [5] = true }", "{ [1] = true, [3] = true, [5] = true, [7] = true }", an_excluded_project),
    Mutation("an instant without what this call booked", "  commit(ctx) -- the sets must know what this call has booked\n", "", choose.test_a_batch_that_takes_the_last_room_says_when_the_next_comes),
    Mutation("an instant told before a grant", "  ctx.told = nil\n", "", choose.test_equal_demands_of_a_batch_are_told_what_a_grant_between_them_changed),
    Mutation("instants of lagging scores overlooked", "local grows = some_ready(ctx, pool) and earliest_in(ctx, 'stale', pool, demand, best)", "local grows = nil", choose.test_equal_demands_of_a_batch_are_told_what_a_grant_between_them_changed),
    Mutation("a search for an instant that ends too soon", "(best.any or opens >= best.at) then return nil end", "true then return nil end", machine),
    Mutation("an instant told that another project may beat", "not best.at or not_before < best.at then", "not best.at then", choose.test_in_a_large_pool_an_instant_is_not_told_that_another_project_may_beat),
    Mutation("several requests given up behind many projects with one", "while seen < min(count, MOST_PASSED) do", "while seen < min(count, 256) do", lambda live: choose.test_several_requests_are_taken_however_many_projects_have_but_one_left(live, "rpm", 0, 500)),
    Mutation("pack that looks from the wrong end", "call('ZRANGE', name, seen - count, last - count, 'WITHSCORES')", "call('ZRANGE', name, seen, last, 'WITHSCORES')", choose.test_pack_takes_the_project_with_the_least_left_that_fits),
    Mutation("requests of a day that spread does not see", "left < MOST_REQUESTS and left or MOST_SCORED", "MOST_SCORED", choose.test_spread_goes_by_the_days_requests_where_few_are_left),
    Mutation("requests of the UTC day that spread does not see", "  if BOTH_DAYS[state.flags] then used = max(used, state.utc_requests) end\n", "", choose.test_spread_goes_by_the_days_requests_where_few_are_left),
    Mutation("few requests taken for too large by what many found", "if requests <= demand.requests and tokens <= demand.tokens then", "if tokens <= demand.tokens then", choose.test_of_a_batch_what_is_no_smaller_than_one_that_found_nothing_finds_nothing),
    Mutation("few tokens taken for too large by what many found", "if requests <= demand.requests and tokens <= demand.tokens then", "if requests <= demand.requests then", choose.test_of_a_batch_what_is_no_smaller_than_one_that_found_nothing_finds_nothing),
    Mutation("the only project taken from another pool", "if only then return by_id(ctx, pool, only, demand) end", "if only then return get_state(ctx, only) end", choose.test_the_only_project_a_demand_may_get_is_of_its_pool),
    Mutation("a demand told when another pool's project frees", "if state and member_of(state, pool.id) then note(ctx, state, demand, best) end\n  end\nend\n\n-- Projects", "if state then note(ctx, state, demand, best) end\n  end\nend\n\n-- Projects", choose.test_the_only_project_a_demand_may_get_is_of_its_pool),
    Mutation("an instant never told in a crowd", "not best.at or not_before < best.at then", "best.at and not_before < best.at then", choose.test_of_a_large_pool_it_is_not_said_that_none_will_where_not_all_were_looked_at),
    Mutation("an instant of others told in a crowd", " or earliest_of_members(ctx, pool, demand, best) then", " then", choose.test_projects_of_other_pools_do_not_hide_when_one_of_ours_frees),
    Mutation("hope told in a crowd where there is none", " or earliest_of_members(ctx, pool, demand, best) then", " then", choose.test_projects_of_other_pools_do_not_hide_that_none_of_ours_ever_will),
    Mutation("a large pool looked through", "local few = call('SCARD', name) <= LOOK", "local few = true", choose.test_in_a_large_pool_among_others_the_instant_is_not_too_late),
    Mutation("a pool that a project left keeps it", "  for _, pool in ipairs(state.pools) do call('SREM', key(ctx, 'members', pool), state.id) end\n", "", load.test_a_pool_has_the_members_that_are_configured),
    Mutation("a pool that does not know who joins", "    for _, pool in ipairs(pools) do call('SADD', key(ctx, 'members', pool), state.id) end\n", "", load.test_a_pool_has_the_members_that_are_configured),
    Mutation("too many due taken for none", "  ctx.tired = ctx.tired or ctx.due >= MOST_DUE\n", "  ctx.tired = false\n", choose.test_with_too_many_projects_due_at_once_the_answer_is_to_ask_again),
    # in flight
    Mutation("no limit in flight", "if state.in_flight >= state.limit_in_flight then return 'in_flight' end", "", choose.test_a_lease_in_flight_is_counted_until_it_ends),
    Mutation("one lease awaited where three must end", "local over = state.in_flight - state.limit_in_flight", "local over = '0'", choose.test_a_limit_lowered_below_what_is_in_flight_waits_for_enough_leases_to_end),
    Mutation("an ended lease overlooked behind others", "      land(ctx, state, NOTHING_MORE)\n      state.stale_at", "      state.stale_at", choose.test_an_ended_lease_is_noticed_behind_many_others),
    Mutation("leases that ended unnoticed taken for open", "  if state.in_flight >= state.limit_in_flight then land(ctx, state, NOTHING_MORE) end\n", "", choose.test_leases_that_ended_unnoticed_leave_room_for_all_of_a_batch),
    Mutation("a due instant that comes too late", "  if ctx.opens_at and ctx.first_at < ctx.opens_at then set_due(ctx, ctx.first_at) end\n", "", a_later_cooldown),
    Mutation("the next due instant forgotten", "  set_due(ctx, tonumber(first[2] or FAR))\n", "  set_due(ctx, FAR)\n", choose.test_leases_older_than_the_in_flight_limit_free_it_when_they_end),
    Mutation("leases older than the limit overlooked", "    if ended == 0 then ended = sweep(ctx, 64) end\n", "", choose.test_leases_older_than_the_in_flight_limit_are_noticed_behind_many_others),
    Mutation("ended leases overlooked behind many others", "if ctx.landed >= MOST_DUE then", "if ctx.landed >= 64 then", choose.test_leases_older_than_the_in_flight_limit_are_noticed_behind_many_others),
    Mutation("leases left to end taken for open", "      ctx.tired = true\n      return\n", "      return\n", choose.test_with_too_many_leases_to_end_the_answer_is_to_ask_again),
    Mutation("a place lost with its lease's record", "or { status = 'o', name = project, client_seq = 0 }", "or { status = 'x', name = '0', client_seq = 0 }", choose.test_a_lease_whose_record_is_gone_still_frees_its_place),
    Mutation("a settlement that keeps its place in flight", "  close_lease(ctx, lease, state)\n  local applied", "  local applied", on_project(settle.test_a_settlement_replaces_the_reservation), long_way=True),
    # how leases end
    Mutation("a settlement repeated", "if lease.status == 'r' or lease.status == 's' then", "if lease.status == 'r' then", on_project(settle.test_the_first_settlement_wins_and_its_answer_is_repeated)),
    Mutation("a late settlement that corrects another entry", "if index < 0 or index > state.closed or", "if index > state.closed or", machine),
    Mutation("a settlement after a release", "if lease.status == 'r' or lease.status == 's' then", "if lease.status == 's' then", on_project(settle.test_a_lease_ends_once_one_way)),
    Mutation("a release after a settlement", "if lease.status == 's' then return 'settled' end", "", on_project(settle.test_a_lease_ends_once_one_way)),
    Mutation("a release done twice", "if lease.status ~= 'r' then touched", "if true then touched", on_project(settle.test_a_release_returns_everything)),
    Mutation("another client's lease", "if lease.client ~= client or", "if", on_project(settle.test_unknown_leases_and_those_of_other_clients_are_missing)),
    Mutation("an answer kept for ever", "lease.expires_at + KEEP_ANSWER_MS <= ctx.now", "false", on_project(settle.test_an_answer_is_repeated_for_ten_minutes_past_expiry_and_then_forgotten)),
    # marks and resets
    Mutation("an earlier cooldown that wins", "'cool_until', max(state.cool_until, cool_time(ctx, state, mark))", "'cool_until', cool_time(ctx, state, mark)", a_later_cooldown),
    Mutation("an earlier wide cooldown that wins", "'wide_until', max(state.wide_until, cool_time(ctx, state, mark))", "'wide_until', cool_time(ctx, state, mark)", a_later_wide_cooldown),
    Mutation("a cooldown not obeyed", "if state.cool_until > state.now or state.wide_until > state.now then return 'cooldown' end", "", a_later_cooldown),
    Mutation("a wide cooldown not obeyed", "  return max(state.cool_until, state.wide_until)\n", "  return state.cool_until\n", on_project(settle.test_of_both_cooldowns_the_longer_holds)),
    Mutation("an exclusion not kept", "set_flag(state, kind == 'exclude' and FLAG_EXCLUDED or FLAG_USABLE, kind == 'exclude')", "set_flag(state, FLAG_USABLE, true)", an_exclusion_by_a_refusal),
    Mutation("a success that clears a cooldown", "if item.success == 1 then set(state, 'failures', 0) end", "if item.success == 1 then set(state, 'failures', 0) set(state, 'cool_until', 0) end", on_project(settle.test_a_success_clears_no_cooldown)),
    Mutation("a success that keeps the back-off", "if item.success == 1 then set(state, 'failures', 0) end", "", settle.test_refusals_that_name_no_time_back_off_until_a_success),
    Mutation("an old answer that cools after a reset", "elseif granted_at <= state.reset_at then", "elseif granted_at < state.reset_at then", a_reset_at_the_same_instant),
    Mutation("a dead key that a reset saves", "  if kind == 'drop_key' then\n", "  if kind == 'drop_key' and granted_at > state.reset_at then\n", settle.test_evidence_of_a_dead_key_counts_even_after_a_reset),
    Mutation("a dead key picked again", "if id ~= dropped then kept", "if true then kept", settle.test_evidence_of_a_dead_key_counts_even_after_a_reset),
    Mutation("an old lease that corrects an emptied window", "state.seq = state.seq + state.closed + 1", "state.seq = state.seq + state.closed", settle.test_a_reset_of_counters_empties_windows_and_days_but_not_what_is_in_flight),
    Mutation("a reset of counters that keeps the days", "  state.day_requests, state.utc_requests = 0, 0\n", "", settle.test_a_reset_of_counters_empties_windows_and_days_but_not_what_is_in_flight),
    # loading
    Mutation("a cooldown that outlives a reset elsewhere", "if project[14] > state.reset_at then", "if false then", an_unheard_reset),
    Mutation("a wait after a loss ended by a reset elsewhere", "min(state.cool_until, rebuilt)", "0", load.test_the_wait_after_a_loss_outlasts_a_reset_that_was_not_heard_of),
    Mutation("a cooldown restored past a reset", "if project[11] > state.reset_at then", "if true then", a_restored_cooldown),
    Mutation("a shorter cooldown restored over a longer one", "'cool_until', max(state.cool_until, project[10])", "'cool_until', project[10]", load.test_a_live_cooldown_later_than_the_restored_one_stays),
    Mutation("a project left in its old sets", "if moves or state.priority ~= priority then leave_ready_sets(ctx, state) end", "", load.test_a_project_moves_between_priorities_and_pools),
    Mutation("an older registry that wins", "if entered and ctx.meta.revision > revision then", "if false then", load.test_seals_only_go_forward),
    Mutation("grants from an older registry", "or ctx.meta.revision < revision then", "then", load.test_seals_only_go_forward),
    Mutation("an alias's bookings not counted", "      if requests > 0 then book(ctx, state, requests, tokens) end\n", "", load.test_what_was_booked_under_another_name_counts_for_a_whole_window),
    Mutation("an alias's requests counted twice a day", "+ day_requests - requests", "+ day_requests", load.test_what_was_booked_under_another_name_counts_for_a_whole_window),
    Mutation("grants from a lost store", "    if not bytes or unpack_bytes('<I4', bytes) ~= LAYOUT then\n      model.meta_bytes, model.shelves, model.shelf_end = nil, {}, 0\n      return nil\n    end\n", "    bytes = bytes or META.encode({ layout = 0, waiting = 0, opens_at = 0, revision = 1, window_ms = 60500, guard_ms = 500, starve_ms = 10000 }) .. POOL.encode({ id = 1, policy = 0, count = 1 }) .. pack_bytes('<i4', 0)\n", load.test_nothing_is_granted_before_the_seal),
    Mutation("leases that outlive their project's count", "  if #projects > 0 then forget_leases(ctx, gone) end\n", "", load.test_an_old_lease_does_not_correct_the_window_of_a_rebuilt_project),
    # waiting
    Mutation("new demands before those that wait", "  if ctx.waiting > 0 then serve(ctx, { pool_id }) end\n  if ctx.chunk", "  if ctx.chunk", waiting.test_a_new_demand_does_not_overtake_an_equal_one_that_waits),
    Mutation("a settlement that serves nobody", "  if state then serve_pools_of(ctx, { state }) end\n", "", lambda live: waiting.test_a_lease_that_ends_below_its_estimate_serves_the_waiter_at_once(live, "settle")),
    Mutation("settlements that serve nobody", "  serve_pools_of(ctx, touched)\n  commit(ctx)\n  return table.concat(outcomes)", "  commit(ctx)\n  return table.concat(outcomes)", waiting.test_leases_that_end_together_serve_the_waiter_at_once),
    Mutation("a load that serves nobody", "  enter(ctx)\n  serve(ctx, ids)\n", "", waiting.test_a_raised_limit_serves_the_waiter_at_once),
    Mutation("a reset that serves nobody", "      reset_state(ctx, state, counters, failures)\n    end\n  end\n  serve_pools_of(ctx, touched)\n", "      reset_state(ctx, state, counters, failures)\n    end\n  end\n", waiting.test_a_reset_serves_the_waiter_at_once),
    Mutation("a cancelled waiter's project kept", "  serve_pools_of(ctx, touched)\n  commit(ctx)\n  return cmsgpack.pack({ ctx.now, outcomes })", "  commit(ctx)\n  return cmsgpack.pack({ ctx.now, outcomes })", kept_free_until("cancelled")),
    Mutation("a dead daemon's project kept", "waiter.deadline > ctx.now and not daemon_is_dead(ctx, waiter.daemon, alive) then", "waiter.deadline > ctx.now then", lambda live: waiting.test_a_starved_demand_is_kept_a_project_once_the_one_before_it_is_gone(live, "its daemon died")),
    Mutation("turns by arrival alone", "  call('HSET', turns, client, turn + 1)\n", "", waiting.test_turns_go_round_the_clients),
    Mutation("turns that a newcomer was away for", "  pass_turn(ctx, waiter)\n", "", waiting.test_a_client_that_comes_later_does_not_get_the_turns_it_was_away),
    Mutation("last come first served", "format('%012d:%d:%d/%d/%d:%d:%d:%d:%s', waiter.number,", "format('%012d:%d:%d/%d/%d:%d:%d:%d:%s', 999999999999 - waiter.number,", waiting.test_turns_go_round_the_clients),
    Mutation("only the first waiter tried", "if not holds and (is_too_large(found.too_large, brief) or is_too_large(limited, brief)) then return end", "if not holds then return end", waiting.test_a_small_waiter_behind_many_large_ones_is_served),
    Mutation("a waiter out of sight behind large ones", "more = count == LOOK_AT and may_fit_behind(ctx, pool, found)", "more = false", lambda live: waiting.test_a_waiter_is_served_however_many_before_it_cannot_be(live, {})),
    Mutation("a waiter out of sight behind thousands", "serve_part(ctx, pool, found, from, from + 1)", "", waiting.test_a_waiter_is_found_behind_thousands_that_cannot_be_served),
    Mutation("always the same behind the first", "* 0.6180339887498949 % 1", "* 0", waiting.test_a_waiter_is_found_behind_thousands_that_cannot_be_served),
    Mutation("a small waiter's size forgotten", "  call('ZADD', key(ctx, 'sizes', pool.id), demand.tokens, demand.lease_id)\n", "", lambda live: waiting.test_a_waiter_is_served_however_many_before_it_cannot_be(live, {})),
    Mutation("a size left", "  call('ZREM', key(ctx, 'sizes', pool), lease_id)\n", "", when_it_leaves("served")),
    Mutation("a client's old limits taken for its new ones", "limits = limits,", "limits = 0,", waiting.test_a_waiter_beyond_its_clients_old_limits_does_not_hide_one_under_new_ones),
    Mutation("a client's small waiter taken for too large", "is_too_large(limited, brief)) then", "limited) then", lambda live: waiting.test_a_waiter_is_served_however_many_before_it_cannot_be(live, {"client": 1, "client_tpm": 600})),
    Mutation("a large demand starved", "local held = hold(ctx, pool, waiter)", "local held = false", waiting.test_a_starved_demand_has_one_project_kept_free_and_is_served_within_a_window),
    Mutation("a starved demand of a large pool forgotten", "elseif not best.at then", "elseif false then", waiting.test_in_a_large_pool_behind_many_others_a_starved_demand_has_a_project_kept_free),
    Mutation("a project kept free taken by another pool's", "  if best.unheld and state.held_by ~= 0 then return end\n", "", waiting.test_pools_that_share_projects_have_each_its_own_kept_free),
    Mutation("a project kept free that left the pool", "  if not member_of(state, waiter.pool) then return nil end\n", "", waiting.test_a_project_kept_free_that_leaves_the_pool_is_given_up_for_another),
    Mutation("a hopeless demand that others starve behind", "found.holder = held and brief.lease_id or nil", "found.holder = brief.lease_id", lambda live: waiting.test_a_starved_demand_that_nothing_can_take_any_more_lets_the_next_one_be_kept_a_project(live, already=False)),
    Mutation("a hopeless demand that keeps its place", "if not best.id or not is_soon(ctx, best.at, best.why) then return stand_back(ctx, waiter) end", "if not best.id then return true end", lambda live: waiting.test_a_starved_demand_that_nothing_can_take_any_more_lets_the_next_one_be_kept_a_project(live, already=True)),
    Mutation("a client at its limit that others starve behind", "    if brief.lease_id == found.holder then\n      stand_back", "    if false then\n      stand_back", waiting.test_a_starved_demand_at_its_clients_limit_lets_another_clients_be_kept_a_project),
    Mutation("a starved demand that nobody wakes", "  if not starving then wake_by(ctx, brief.since + ctx.meta.starve_ms) end\n", "  if not starving then wake_by(ctx, brief.since + ctx.meta.starve_ms * 6) end\n", waiting.test_a_pump_comes_when_a_demand_starts_to_starve),
    Mutation("a project kept free that fits unnoticed", "  wake_by(ctx, at)\n", "", waiting.test_a_project_stays_kept_free_between_pumps_that_come_when_told),
    Mutation("a closed project kept for ever", "if at and is_soon(ctx, at, why) then return state, at end", "return state, at or ctx.now", waiting.test_a_project_kept_free_is_given_up_when_a_refusal_closes_it),
    Mutation("a project kept free for what it takes tomorrow", "if not best.id or not is_soon(ctx, best.at, best.why) then", "if not best.id then", waiting.test_no_project_is_kept_free_for_what_none_takes_within_a_window),
    Mutation("leases that are over on a project kept free", "  land(ctx, state, demand) -- one", "  -- one", lambda live: waiting.test_an_expired_lease_frees_a_project_kept_free_without_a_pump(live, "a settlement")),
    Mutation("a project in flight not kept free", " or why == 'in_flight'", "", waiting.test_a_project_in_flight_is_kept_free_however_long_its_leases_may_last),
    Mutation("what a project kept free has left overlooked", "  if state.score > 0 then look_again(ctx, state.pools) end\n", "", waiting.test_what_is_left_of_a_project_kept_free_goes_to_those_tried_before),
    Mutation("a queue without end", ">= most_waiting then", "> most_waiting then", waiting.test_beyond_the_queue_limit_a_refusal_comes_at_once),
    Mutation("waiting for what never comes", "  if not possible then return result_of(0, 0, 0, 'none') end\n", "", waiting.test_a_demand_that_nothing_will_ever_take_does_not_wait),
    Mutation("grants handed over twice", "if #grants > 0 then call('DEL', list) end", "", waiting.test_grants_are_handed_over_once_and_to_the_daemon_that_waits),
    Mutation("a silent wake-up", "  redis.pcall('PUBLISH', 'kp:wake:' .. waiter.daemon, ctx.tag)\n", "", waiting.test_a_daemon_is_told_that_its_grants_lie_ready),
    Mutation("a waiter's record left", "  call('HDEL', key(ctx, 'waiter'), waiter.lease_id)\n", "", when_it_leaves("served")),
    Mutation("turns left", "if call('EXISTS', queue) == 0 then", "if false then", when_it_leaves("cancelled")),
    Mutation("late waiters left", "if brief.deadline > ctx.now then", "if true then", waiting.test_a_waiter_whose_time_is_over_is_not_served_and_the_pump_says_when_that_is),
    Mutation("dead daemons' waiters left", "if daemon_is_dead(ctx, waiter.daemon, found.alive) then", "if false then", when_it_leaves("its daemon died")),
    Mutation("the deadline of a waiter forgotten", "      wake_by(ctx, brief.deadline)\n", "", waiting.test_a_waiter_whose_time_is_over_is_not_served_and_the_pump_says_when_that_is),
    Mutation("a client's own instant forgotten", "if client_at then wake_by(ctx, client_at) end", "", waiting.test_a_client_at_its_own_limit_is_told_to_the_pump),
    Mutation("a daemon that pumps as told taken for dead", "if ctx.waiting > 0 then wake_by(ctx, ctx.now + DEAD_DAEMON_MS / 2) end", "", waiting.test_a_daemon_that_pumps_when_told_to_is_never_taken_for_dead),
    Mutation("another client's waiter cancelled", "    if waiter.client ~= client then return 'missing' end\n", "", waiting.test_another_client_cannot_cancel_a_waiter),
]  # fmt: skip


def named(mutations):
    return [pytest.param(each, id=each.breaks) for each in mutations]


def own_checks():
    """Mutations whose check is no test that runs as it is in its own file, one for each check."""
    found = {
        (each.check, each.long_way): each
        for each in MUTATIONS
        if each.long_way or each.check.__module__ == __name__
    }
    # The machine has a test of its own, too, and takes long where nothing is broken.
    return [each for each in found.values() if each.check is not machine]


@pytest.mark.parametrize("mutation", named(own_checks()))
def test_while_nothing_is_broken_nothing_is_noticed(engine_url, mutation):
    with live_engine(engine_url) as live:
        live.mutate(*(quick.THE_LONG_WAY if mutation.long_way else ()))
        live.fresh()
        mutation.check(live)


@pytest.mark.parametrize("mutation", named(MUTATIONS))
def test_a_broken_rule_is_noticed(engine_url, mutation):
    with live_engine(engine_url) as live:
        broken = (mutation.text, mutation.replacement)
        live.mutate(broken, *(quick.THE_LONG_WAY if mutation.long_way else ()))
        live.fresh()
        # a refusal where a grant is due has other fields, and so on: that is noticed too
        with pytest.raises((AssertionError, AttributeError, ResponseError, TypeError)):
            mutation.check(live)
