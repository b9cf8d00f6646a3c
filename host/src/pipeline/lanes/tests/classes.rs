//! What is known of a receiver decides how many attempts it may have.

use super::*;

#[test]
fn receivers_that_do_not_answer_leave_most_attempts_to_those_that_do() {
    let lanes = Lanes::new(40);
    for company in 0..100 {
        let name = format!("dead-{company}");
        let hook = webhook_of(&name, &name, 32);
        lanes.offer(&hook, jobs_of(&name, &name, 9), false);
        for _ in 0..3 {
            lanes.judge(&job(&name, &name, 99), Verdict::Silent, 0);
        }
    }
    assert_eq!(all(&lanes).len(), 5);
    // A receiver that nobody knows yet has its first attempt all the same, and one that is known has all that it may.
    lanes.offer(&webhook_of("new", "new", 32), jobs_of("new", "new", 9), false);
    assert_eq!(names(all(&lanes)), ["new-0"]);
    let live = webhook_of("live", "live", 5);
    proven(&lanes, &live);
    lanes.offer(&live, jobs_of("live", "live", 9), false);
    assert_eq!(all(&lanes).len(), 5);
}

#[test]
fn receivers_that_nobody_knows_leave_half_of_all_attempts_to_those_that_are_well_and_a_company_half_of_that() {
    let lanes = Lanes::new(40);
    for number in 0..100 {
        let name = format!("new-{number}");
        lanes.offer(&webhook(&name, 32), jobs(&name, 1), false);
    }
    assert_eq!(all(&lanes).len(), 10);
    for company in 0..100 {
        let name = format!("other-{company}");
        lanes.offer(&webhook_of(&name, &name, 32), jobs_of(&name, &name, 1), false);
    }
    assert_eq!(all(&lanes).len(), 10);
    let live = Webhook { proven: true, ..webhook("live", 5) };
    lanes.offer(&live, jobs("live", 9), false);
    assert_eq!(all(&lanes).len(), 5);
}

#[test]
fn what_was_written_down_of_a_receiver_holds_until_more_is_known() {
    let lanes = Lanes::new(99);
    let (well, failing) =
        (Webhook { proven: true, ..webhook("well", 5) }, Webhook { failing_since: Some(0), ..webhook("failing", 5) });
    lanes.offer(&failing, jobs("failing", 9), false);
    lanes.offer(&well, jobs("well", 1), false);
    let taken = all(&lanes);
    assert_eq!(taken[0].delivery, "well-0");
    assert!(taken[1..].iter().all(|job| job.class == Class::Guarded) && taken.len() == 6);
    lanes.judge(&taken[1], Verdict::Well, 0);
    lanes.done(&taken[1], false);
    assert_eq!(take(&lanes).unwrap().class, Class::Proven);
}
