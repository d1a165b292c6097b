use super::allowance::{DAY_MILLIS, MINUTE};
use super::troubles::REMEMBERED;
use super::*;

fn caps() -> Caps {
    Caps {
        concurrency: 8,
        per_minute: Some(3),
        per_day: Some(10),
        recipients_per_transaction: 4,
        messages_per_connection: 100,
        day_shared_by: 1,
        idle: Duration::from_secs(60),
    }
}

/// A route that sent so many recipients on the day of `at(0)`.
fn fresh(caps: Caps, sent_today: u32) -> Throttle {
    Throttle::new(caps, &ThrottleState { day: 20_000, recipients: sent_today, ..ThrottleState::default() }, at(0))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(20_000 * DAY_MILLIS + seconds * 1000)
}

#[test]
fn no_window_of_a_minute_holds_more_than_the_cap() {
    let mut throttle = fresh(Caps { per_day: None, ..caps() }, 0);
    let sent: Vec<u64> = (0..300).filter(|s| throttle.take(1, at(*s)).recipients == 1).collect();
    assert!(sent.windows(4).all(|w| w[3] - w[0] > 60), "{sent:?}");
    assert_eq!(sent.len(), 15);
    assert_eq!(throttle.next_change(at(299)), Some(at(248) + MINUTE));
}

#[test]
fn a_server_that_bears_less_than_the_cap_is_asked_for_more_only_now_and_then() {
    let mut throttle = fresh(Caps { per_minute: None, per_day: None, ..caps() }, 0);
    let (mut pauses, mut sent) = (0, 0);
    for second in 0..3600 {
        // It bears two connections; each delivers a message a second.
        match throttle.concurrency(at(second)) {
            0 => {}
            n @ 1..=2 => (0..n).for_each(|_| {
                sent += 1;
                throttle.succeeded();
            }),
            _ => {
                throttle.back_off("421 too many connections", None, at(second), 0.0);
                pauses += 1;
            }
        }
    }
    assert!(pauses <= 16 && sent > 6_600, "{pauses} pauses, {sent} sent");
    // One that bears more again gets it.
    let mut later = 3600 + 700;
    while throttle.concurrency(at(later)) < 8 {
        throttle.succeeded();
        later += 1;
    }
    assert!(later < 4320, "{later}");
}

#[test]
fn what_was_claimed_before_the_trouble_is_not_tried_in_it() {
    let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 0);
    throttle.suspend(Cause::Login, "535", at(0), at(0));
    assert_eq!(throttle.take(1, at(0)).recipients, 0);
    throttle.resume(at(1));
    assert_eq!(throttle.take(1, at(1)).recipients, 1);
    throttle.back_off("421 busy", None, at(2), 0.0);
    assert_eq!(throttle.take(1, at(3)).recipients, 0);
    assert_eq!(throttle.sent_today(), (20_000, 1));
}

#[test]
fn the_day_counts_recipients_and_ends_at_midnight_utc() {
    let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 3);
    assert_eq!(throttle.take(100, at(0)).recipients, 4, "recipients a transaction");
    assert_eq!(throttle.take(100, at(0)).recipients, 3, "what is left of the day");
    assert_eq!(throttle.take(1, at(0)).recipients, 0);
    let midnight = Timestamp::from_millis(20_001 * DAY_MILLIS);
    assert_eq!(throttle.next_change(at(0)), Some(midnight));
    let taken = throttle.take(1, midnight);
    assert_eq!(taken, Taken { recipients: 1, day: 20_001 });
    throttle.give_back(taken);
    assert_eq!(throttle.sent_today(), (20_001, 0));
}

#[test]
fn what_comes_back_after_midnight_makes_no_room_in_the_next_day() {
    let midnight = Timestamp::from_millis(20_001 * DAY_MILLIS);
    for day_shared_by in [1, 5] {
        let caps = Caps { per_minute: None, per_day: Some(10), day_shared_by, ..caps() };
        let mut throttle = fresh(caps, 0);
        throttle.reserve(20_000, 10, at(0));
        let yesterday = throttle.take(4, at(0));
        throttle.reserve(20_001, 10, midnight);
        let today = throttle.take(4, midnight);
        assert_eq!((yesterday.recipients, today.recipients), (4, 4));
        throttle.give_back(yesterday);
        assert_eq!((throttle.allowance(midnight), throttle.sent_today().1), (6, 4));
        throttle.give_back(today);
        assert_eq!((throttle.allowance(midnight), throttle.sent_today().1), (10, 0));
    }
}

#[test]
fn backing_off_doubles_until_a_success_and_restarts_slowly() {
    let mut throttle = fresh(caps(), 0);
    assert!(throttle.back_off("421 busy", None, at(0), 0.0));
    throttle.back_off("421 busy", None, at(1), 0.0); // heard by another attempt that was under way
    assert_eq!(throttle.concurrency(at(14)), 0);
    assert_eq!(throttle.concurrency(at(15)), 1);
    assert!(!throttle.back_off("421 busy", None, at(15), 0.0), "no second alert");
    assert_eq!(throttle.next_change(at(16)), Some(at(45)));
    assert_eq!(throttle.concurrency(at(45)), 1);
    let grown: Vec<u32> = (0..4)
        .map(|_| {
            throttle.succeeded();
            throttle.concurrency(at(45))
        })
        .collect();
    assert_eq!(grown, [2, 4, 8, 8]);
    throttle.back_off("421 busy", None, at(50), 0.0);
    assert_eq!(throttle.next_change(at(50)), Some(at(65)), "a success reset the pause");
}

#[test]
fn a_message_that_repeatedly_gets_421_stops_no_other() {
    let mut throttle = fresh(Caps { per_minute: None, per_day: None, ..caps() }, 0);
    let (poison, other) = (QueueId::from_u64(1), QueueId::from_u64(2));
    for n in 0..20 {
        assert!(!throttle.doubt(poison, "421 bye", None, at(n), 0.0));
        assert_eq!(throttle.concurrency(at(n)), 8, "alone");
    }
    throttle.succeeded();
    assert!(!throttle.doubt(other, "421 bye", None, at(20), 0.0), "one was taken between");
    assert_eq!(throttle.concurrency(at(20)), 8);
}

#[test]
fn a_421_to_a_second_message_becomes_the_routes_trouble_with_short_pauses() {
    let mut throttle = fresh(Caps { per_minute: None, per_day: None, ..caps() }, 0);
    let doubt =
        |throttle: &mut Throttle, message, now| throttle.doubt(QueueId::from_u64(message), "421", None, now, 0.0);
    assert!(!doubt(&mut throttle, 1, at(0)));
    assert!(doubt(&mut throttle, 2, at(0)), "news");
    assert_eq!(throttle.concurrency(at(14)), 0);
    let mut now = at(0);
    for message in 3..20 {
        let then = throttle.next_change(now).unwrap();
        assert!(then.since(now) <= Duration::from_secs(60), "{:?}", then.since(now));
        now = then;
        assert!(!doubt(&mut throttle, message, now), "no second alert");
        assert_eq!(throttle.concurrency(now), 0);
    }
    // A server that asks for more time gets it.
    let then = throttle.next_change(now).unwrap();
    throttle.doubt(QueueId::from_u64(99), "421 in 5 minutes", Some(Duration::from_secs(300)), then, 0.0);
    assert_eq!(throttle.next_change(then), Some(then + Duration::from_secs(300)));
}

#[test]
fn a_suspended_route_waits_for_a_person() {
    let mut throttle = fresh(caps(), 0);
    assert!(throttle.suspend(Cause::Login, "535 wrong password", at(0), at(0)));
    assert!(!throttle.suspend(Cause::Login, "535 wrong password", at(1), at(1)), "no second alert");
    throttle.back_off("421", None, at(2), 0.0);
    assert_eq!(throttle.next_change(at(1_000_000)), None);
    assert!(throttle.resume(at(1_000_000)));
    assert_eq!(throttle.concurrency(at(1_000_000)), 1);
}

#[test]
fn trouble_lasts_over_pauses_until_the_server_answers_and_is_told_once() {
    let mut throttle = fresh(caps(), 0);
    let (after, since) = (Duration::from_secs(900), |it: LastingTrouble| (it.since, it.reason));
    assert!(throttle.overdue_trouble(Duration::ZERO, at(0)).is_none());
    throttle.back_off("connection refused", None, at(10), 0.0);
    for second in [30, 120, 600] {
        throttle.back_off("no answer", None, at(second), 0.0);
        assert!(throttle.overdue_trouble(after, at(second)).is_none());
    }
    assert_eq!(throttle.overdue_trouble(after, at(910)).map(since), Some((at(10), "no answer".into())));
    throttle.back_off("no answer", None, at(3000), 0.0);
    assert!(throttle.overdue_trouble(after, at(9000)).is_none(), "told");
    throttle.reached();
    assert!(throttle.lasting_trouble().is_none());
    throttle.back_off("421", None, at(9000), 0.0);
    assert_eq!(throttle.overdue_trouble(after, at(9900)).map(since), Some((at(9000), "421".into())), "anew");
    throttle.resume(at(9901));
    assert!(throttle.lasting_trouble().is_none(), "an operator knows");
    throttle.suspend(Cause::Operator, "moving", at(9902), at(9902));
    assert!(throttle.lasting_trouble().is_none(), "an operator wanted it");
}

#[test]
fn something_may_be_sent_once_both_the_pause_and_the_caps_allow_it() {
    let mut throttle = fresh(caps(), 9);
    throttle.back_off("421", None, at(0), 0.0);
    assert_eq!(throttle.next_change(at(0)), Some(at(15)));
    assert_eq!(throttle.take(1, at(15)).recipients, 1);
    throttle.back_off("421", None, at(16), 0.0);
    assert_eq!(throttle.next_change(at(16)), Some(at(86_400)), "the day's cap is used up");
}

#[test]
fn waiting_for_the_servers_trouble_is_not_our_own_waiting() {
    let mut throttle = fresh(caps(), 0);
    throttle.suspend(Cause::Login, "535", at(100), at(100));
    throttle.resume(at(160));
    assert_eq!(throttle.own_waiting(at(0), at(200)), Duration::from_secs(140));
    assert_eq!(throttle.own_waiting(at(130), at(200)), Duration::from_secs(40));
    throttle.suspend(Cause::Login, "535", at(200), at(200));
    assert_eq!(throttle.own_waiting(at(130), at(300)), Duration::from_secs(40));
    for n in 0..100 {
        throttle.resume(at(300 + 2 * n));
        throttle.suspend(Cause::Login, "535", at(301 + 2 * n), at(301 + 2 * n));
    }
    assert!(throttle.troubles.persisted().len() <= REMEMBERED);
}

#[test]
fn the_minutes_cap_holds_across_a_restart() {
    let mut throttle = fresh(caps(), 0);
    assert_eq!((0..5).map(|s| throttle.take(1, at(s)).recipients).sum::<u32>(), 3);
    let saved = throttle.persisted();
    let mut throttle = Throttle::new(caps(), &saved, at(6));
    assert_eq!(throttle.take(1, at(6)).recipients, 0, "the minute is full");
    assert_eq!(throttle.sent_today(), (20_000, 3));
    assert_eq!(throttle.take(1, at(2) + MINUTE).recipients, 1);
    // The clock was set back while nothing ran.
    let earlier = at(0) - Duration::from_secs(3 * 86_400);
    let mut throttle = Throttle::new(caps(), &saved, earlier);
    assert_eq!(throttle.take(1, earlier).recipients, 0);
    assert_eq!(throttle.take(1, earlier + MINUTE).recipients, 1, "not when the old time comes again");
}

#[test]
fn trouble_is_remembered_across_a_restart_so_that_mail_behind_it_grows_old() {
    let mut throttle = fresh(caps(), 0);
    throttle.suspend(Cause::Login, "535", at(100), at(100));
    let mut throttle = Throttle::new(caps(), &throttle.persisted(), at(1000));
    throttle.suspend(Cause::Login, "535", at(100), at(1000));
    assert_eq!(throttle.own_waiting(at(0), at(2000)), Duration::from_secs(100));
    assert!(matches!(throttle.state(at(2000)), RouteState::Suspended { since, .. } if *since == at(100)));
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_wait_for_the_wrong_time() {
    const YEARS: u64 = 5 * 365 * 86_400;
    let mut throttle = fresh(caps(), 0);
    assert_eq!(throttle.take(3, at(YEARS)).recipients, 3);
    throttle.take(1, at(YEARS));
    throttle.back_off("421", None, at(YEARS), 0.0);
    assert_eq!(throttle.sent_today(), (20_000 + YEARS / 86_400, 4));
    throttle.clock_went_back(Duration::from_secs(YEARS), at(0));
    assert_eq!(throttle.next_change(at(0)), Some(at(15)), "the pause goes on");
    assert_eq!(throttle.concurrency(at(15)), 1);
    assert!(throttle.allowance(at(15)) > 0);
    assert_eq!(throttle.sent_today(), (20_000, 4), "what was sent under the wrong day counts");
    assert_eq!(throttle.take(9, at(63)).recipients, 4, "the minute has passed");
}

#[test]
fn a_clock_set_back_over_midnight_does_not_give_the_day_again() {
    let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 0);
    assert_eq!(throttle.take(4, at(0)).recipients, 4);
    assert_eq!(throttle.take(4, at(0)).recipients, 4);
    let yesterday = at(0) - Duration::from_secs(60);
    assert_eq!(throttle.allowance(yesterday), 2);
    assert_eq!(throttle.allowance(at(0)), 2, "the same day once more");
}

#[test]
fn a_clock_that_was_ahead_for_days_finds_the_count_of_the_present_day_also_after_a_restart() {
    const DAY: Duration = Duration::from_secs(86_400);
    for ahead in [1, 2, 900] {
        let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 7);
        let wrong = at(0) + DAY * ahead;
        assert_eq!((throttle.allowance(at(0)), throttle.allowance(wrong)), (3, 10), "a new day");
        assert_eq!(throttle.take(1, wrong).recipients, 1);
        let mut throttle = Throttle::new(throttle.caps, &throttle.persisted(), wrong);
        assert_eq!(throttle.allowance(at(0)), 2, "{ahead} days: 7 before, and 1 under the wrong day");
        let mut throttle = Throttle::new(throttle.caps, &throttle.persisted(), at(0));
        assert_eq!((throttle.allowance(at(0)), throttle.sent_today()), (2, (20_000, 8)));
        let (tomorrow, later) = (at(0) + DAY, at(0) + DAY * 2);
        assert_eq!(throttle.allowance(tomorrow), if ahead == 1 { 9 } else { 10 });
        assert_eq!(throttle.allowance(later), 10);
    }
    // A clock that is set back for a while finds the count of the present day again, and what was sent then counted to neither twice.
    for back in [1, 2, 900] {
        let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 7);
        let wrong = at(0) - DAY * back;
        assert_eq!(throttle.allowance(wrong), 3, "{back} days: 7 on the day that the clock showed before");
        assert_eq!(throttle.take(1, wrong).recipients, 1);
        let mut throttle = Throttle::new(throttle.caps, &throttle.persisted(), wrong);
        assert_eq!(throttle.allowance(wrong), 2);
        assert_eq!(throttle.allowance(wrong - DAY), 2);
        assert_eq!((throttle.allowance(at(0)), throttle.sent_today()), (3, (20_000, 7)));
        assert_eq!(throttle.allowance(at(0) + DAY), 10);
    }
    // Old days are forgotten.
    let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 7);
    for day in 0..100 {
        assert_eq!(throttle.take(3, at(0) + DAY * day).recipients, 3);
    }
    assert!(throttle.persisted().other_days.len() < 10);
}

#[test]
fn an_operators_suspension_takes_the_place_of_a_refused_logins_and_not_the_other_way_round() {
    let mut throttle = fresh(caps(), 0);
    let cause = |throttle: &mut Throttle| match throttle.state(at(9)) {
        RouteState::Suspended { cause, .. } => *cause,
        other => panic!("{other:?}"),
    };
    assert!(throttle.suspend(Cause::Login, "535", at(1), at(1)));
    assert!(!throttle.suspend(Cause::Operator, "moving", at(2), at(2)));
    assert_eq!(cause(&mut throttle), Cause::Operator);
    throttle.suspend(Cause::Login, "535", at(3), at(3));
    assert_eq!(cause(&mut throttle), Cause::Operator);
}

#[test]
fn of_a_day_that_nodes_share_only_what_was_reserved_is_spent() {
    let caps =
        Caps { per_minute: None, per_day: Some(100), day_shared_by: 5, recipients_per_transaction: 50, ..caps() };
    let mut throttle = fresh(caps, 0);
    assert_eq!((throttle.take(1, at(0)).recipients, throttle.allowance(at(0))), (0, 0), "nothing is reserved yet");
    let wanted = throttle.wanted(at(0)).unwrap();
    assert_eq!((wanted.cap, wanted.chunk, wanted.sent), (100, 5, 0));
    throttle.reserve(wanted.day, 5, at(0));
    assert_eq!(throttle.wanted(at(0)), None);
    assert_eq!(throttle.take(4, at(0)).recipients, 4);
    assert!(throttle.wanted(at(0)).is_some(), "one is left, a quarter of a chunk");
    let taken = throttle.take(4, at(0));
    assert_eq!(taken.recipients, 1);
    throttle.give_back(Taken { recipients: 2, ..taken });
    assert_eq!((throttle.allowance(at(0)), throttle.sent_today().1), (2, 3));
    // What was reserved yesterday is nothing of today's, and neither is what comes back of it.
    let tomorrow = at(0) + Duration::from_secs(86_400);
    assert_eq!(throttle.allowance(tomorrow), 0);
    throttle.give_back(Taken { recipients: 3, ..taken });
    throttle.reserve(wanted.day, 5, tomorrow);
    assert_eq!(throttle.allowance(tomorrow), 0);
    throttle.reserve(wanted.day + 1, 5, tomorrow);
    assert_eq!(throttle.give_up_reserved(), (wanted.day + 1, 5));
}
