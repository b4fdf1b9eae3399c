//! Handoffs as ladders. `receives` is the far end, `does` is what we did about it, in order.

use std::time::Duration;

use super::*;
use crate::history::BackendError;
use crate::history::commit::tests::receipt;
use crate::testing::t0;
use crate::vocab::{Entropy, HandoffKey};

struct Ladder {
    now: Instant,
    key: HandoffKey,
    handoff: Handoff,
}

impl Ladder {
    fn begin(config: &Config, request: &Request) -> Self {
        let key = HandoffKey::generate(&mut Entropy::from_number(1));
        let now = t0();
        let caller = Caller {
            key,
            allows_refer: true,
            placement: KeyPlacement::ReferToHeader,
            us: Some("sip:bot@voice.example.com"),
        };
        let handoff = Handoff::begin(now, "ho-1".into(), config, request, &caller).expect("valid");
        Self { now, key, handoff }
    }

    /// Requested, committed, REFER sent.
    fn referring() -> Self {
        Self::referring_with(&config())
    }

    fn referring_with(config: &Config) -> Self {
        let mut ladder = Self::begin(config, &Request::default());
        ladder.does(&["requested", "COMMIT"]);
        ladder.store_commits();
        ladder.does(&["committed", "REFER"]);
        ladder
    }

    fn accepted() -> Self {
        let mut ladder = Self::referring();
        ladder.receives(answer(202));
        ladder.does(&["trying 202"]);
        ladder
    }

    fn store_commits(&mut self) -> &mut Self {
        let receipt = receipt(self.key, self.handoff.id());
        self.receives(Input::Committed(Ok(receipt)))
    }

    fn receives(&mut self, input: Input) -> &mut Self {
        self.handoff.handle_input(self.now, input);
        self
    }

    /// Time passes, every deadline served when it is due.
    fn after(&mut self, seconds: u64) -> &mut Self {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.handoff.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.handoff.handle_timeout(self.now);
        }
        self.now = until;
        self
    }

    #[track_caller]
    fn does(&mut self, expected: &[&str]) -> &mut Self {
        let mut done = Vec::new();
        while let Some(action) = self.handoff.poll_action() {
            done.push(self.show(action));
        }
        assert_eq!(done, expected);
        self
    }

    fn show(&self, action: Action) -> String {
        match action {
            Action::Report(style, step) => {
                let style = if style == Style::Refer {
                    String::new()
                } else {
                    format!("{style}: ")
                };
                let kind = step
                    .failure
                    .map(|kind| format!(" {kind}"))
                    .unwrap_or_default();
                let status = step.sip_status.map(|s| format!(" {s}")).unwrap_or_default();
                format!("{style}{}{kind}{status}", step.state)
            }
            Action::Commit => "COMMIT".into(),
            Action::Refer(receipt, refer) => {
                assert_eq!(receipt.key(), self.key);
                assert!(refer.refer_to.contains(self.key.as_str()));
                "REFER".into()
            }
            Action::HangUpAndReturn(receipt, headers) => {
                assert_eq!(receipt.handoff(), self.handoff.id());
                let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
                format!("BYE {}", names.join(" "))
            }
            Action::Redirect(receipt, contact) => {
                assert_eq!(receipt.key(), self.key);
                format!("302 {}", contact.replace(self.key.as_str(), "KEY"))
            }
            Action::Finish(outcome) => format!("{outcome:?}"),
        }
    }
}

fn config() -> Config {
    Config {
        target: Some("sip:queue@flex.example.com".into()),
        ..Config::default()
    }
}

fn with_hangup() -> Config {
    Config {
        styles: vec![Style::Refer, Style::Hangup],
        ..config()
    }
}

fn answer(status: u16) -> Input {
    Input::ReferAnswered {
        status,
        reason: String::new(),
    }
}

fn notify(status: u16) -> Input {
    Input::Notified {
        sipfrag: Some((status, "Phrase".into())),
        last: status >= 200,
    }
}

fn bye() -> Input {
    Input::Bye { reason: None }
}

#[test]
fn a_caller_is_handed_over_only_after_the_history_is_durable() {
    let mut ladder = Ladder::begin(&config(), &Request::default());
    ladder.does(&["requested", "COMMIT"]).after(1).does(&[]);
    ladder.store_commits().does(&["committed", "REFER"]);
    ladder.receives(answer(202)).does(&["trying 202"]);
    ladder.receives(notify(100)).does(&["trying 100"]);
    ladder.receives(notify(180)).does(&["ringing 180"]);
    ladder
        .receives(notify(200))
        .does(&["transferred 200", "Transferred"]);
    assert!(ladder.handoff.is_transferred() && !ladder.handoff.is_running());
    assert_eq!(ladder.handoff.poll_timeout(), None);
}

#[test]
fn a_refused_refer_gives_the_caller_back() {
    for status in [405, 603, 403, 302, 481, 500] {
        let mut ladder = Ladder::referring();
        ladder.receives(answer(status));
        ladder.does(&[
            &format!("failed refused {status}"),
            "resumed",
            "Failed(Resume)",
        ]);
        ladder.after(300).does(&[]);
    }
}

#[test]
fn a_target_that_does_not_take_the_call_gives_the_caller_back() {
    for status in [486, 503, 404, 603, 302, 699] {
        let mut ladder = Ladder::accepted();
        ladder.receives(notify(100)).does(&["trying 100"]);
        ladder.receives(notify(status));
        ladder.does(&[
            &format!("failed target_failed {status}"),
            "resumed",
            "Failed(Resume)",
        ]);
        ladder.receives(notify(status)).after(300).does(&[]);
    }
}

#[test]
fn a_far_end_that_never_answers_the_refer_is_not_waited_for_longer_than_configured() {
    let mut ladder = Ladder::referring();
    ladder.after(9).does(&[]);
    ladder
        .after(1)
        .does(&["failed no_answer", "resumed", "Failed(Resume)"]);
    let mut ladder = Ladder::referring();
    ladder
        .receives(answer(408))
        .does(&["failed no_answer 408", "resumed", "Failed(Resume)"]);
}

#[test]
fn a_202_without_any_notify_is_no_transfer() {
    let mut ladder = Ladder::accepted();
    ladder.after(29).does(&[]);
    ladder
        .after(1)
        .does(&["failed silent", "resumed", "Failed(Resume)"]);
}

#[test]
fn a_far_end_that_only_ever_tries_is_given_up() {
    let mut ladder = Ladder::accepted();
    ladder.receives(notify(100)).does(&["trying 100"]);
    ladder.after(59).does(&[]);
    ladder
        .after(1)
        .does(&["failed silent", "resumed", "Failed(Resume)"]);
    let mut ladder = Ladder::accepted();
    for seconds in [20, 40, 40] {
        ladder
            .after(seconds)
            .receives(notify(100))
            .does(&["trying 100"]);
    }
    ladder
        .after(20)
        .does(&["failed silent", "resumed", "Failed(Resume)"]);
}

#[test]
fn a_history_that_is_not_durable_stops_the_handoff_before_anything_was_sent() {
    for error in [
        BackendError::Full,
        BackendError::Unavailable { why: "down".into() },
        BackendError::Expired,
    ] {
        let mut ladder = Ladder::begin(&with_hangup(), &Request::default());
        ladder.does(&["requested", "COMMIT"]);
        ladder.receives(Input::Committed(Err(error.into())));
        ladder.does(&["failed not_durable", "resumed", "Failed(Resume)"]);
    }
}

#[test]
fn a_store_that_never_answers_stops_it_too_and_its_late_receipt_sends_nothing() {
    let mut ladder = Ladder::begin(&config(), &Request::default());
    ladder.does(&["requested", "COMMIT"]).after(10);
    ladder.does(&["failed not_durable", "resumed", "Failed(Resume)"]);
    ladder.store_commits().does(&[]);
}

#[test]
fn a_notify_that_overtakes_the_202_counts() {
    let mut ladder = Ladder::referring();
    ladder.receives(notify(100)).does(&["trying 100"]);
    ladder.receives(answer(202)).does(&[]);
    ladder
        .receives(notify(200))
        .does(&["transferred 200", "Transferred"]);

    let mut ladder = Ladder::referring();
    ladder
        .receives(notify(200))
        .does(&["transferred 200", "Transferred"]);
    ladder.receives(answer(202)).does(&[]);

    let mut ladder = Ladder::referring();
    ladder
        .receives(notify(486))
        .does(&["failed target_failed 486", "resumed", "Failed(Resume)"]);
    ladder.receives(answer(202)).does(&[]);
}

#[test]
fn a_notify_that_comes_after_the_far_ends_bye_counts() {
    let mut ladder = Ladder::accepted();
    ladder.receives(bye()).does(&[]).after(4).does(&[]);
    ladder
        .receives(notify(200))
        .does(&["transferred 200", "TransferredAndGone"]);

    let mut ladder = Ladder::accepted();
    ladder
        .receives(bye())
        .receives(notify(486))
        .does(&["failed target_failed 486", "FailedAndGone"]);

    let mut ladder = Ladder::referring();
    ladder
        .receives(bye())
        .receives(notify(100))
        .receives(notify(200));
    ladder.does(&["transferred 200", "TransferredAndGone"]);
}

#[test]
fn a_far_end_that_accepts_and_hangs_up_without_proof_leaves_it_unconfirmed() {
    let mut ladder = Ladder::accepted();
    ladder
        .receives(bye())
        .after(5)
        .does(&["unconfirmed", "Unconfirmed"]);

    let mut ladder = Ladder::accepted();
    ladder.receives(notify(100)).does(&["trying 100"]);
    ladder
        .receives(bye())
        .after(5)
        .does(&["unconfirmed", "Unconfirmed"]);

    let mut ladder = Ladder::referring();
    ladder
        .receives(bye())
        .receives(answer(202))
        .after(5)
        .does(&["unconfirmed", "Unconfirmed"]);
}

#[test]
fn a_key_that_was_read_makes_the_far_ends_bye_a_transfer() {
    let mut ladder = Ladder::accepted();
    ladder.receives(Input::KeyRead).does(&[]);
    ladder
        .receives(bye())
        .does(&["transferred", "TransferredAndGone"]);

    let mut ladder = Ladder::accepted();
    ladder.receives(bye()).does(&[]).after(4);
    ladder
        .receives(Input::KeyRead)
        .does(&["transferred", "TransferredAndGone"]);

    let mut ladder = Ladder::referring();
    ladder
        .receives(Input::KeyRead)
        .receives(bye())
        .does(&["transferred", "TransferredAndGone"]);
}

#[test]
fn a_key_that_was_read_does_not_outweigh_a_target_that_refused() {
    let mut ladder = Ladder::accepted();
    ladder.receives(Input::KeyRead).receives(notify(486));
    ladder.does(&["failed target_failed 486", "resumed", "Failed(Resume)"]);
}

#[test]
fn a_key_that_was_read_and_then_silence_is_a_transfer() {
    let mut ladder = Ladder::accepted();
    ladder
        .receives(Input::KeyRead)
        .after(30)
        .does(&["transferred", "Transferred"]);
}

#[test]
fn a_caller_who_hangs_up_before_the_refer_was_answered_is_not_transferred() {
    let mut ladder = Ladder::referring();
    ladder.receives(bye()).receives(answer(481));
    ladder.does(&["failed caller_hung_up 481", "FailedAndGone"]);

    let mut ladder = Ladder::referring();
    ladder
        .receives(bye())
        .after(5)
        .does(&["failed caller_hung_up", "FailedAndGone"]);

    let mut ladder = Ladder::begin(&config(), &Request::default());
    ladder.does(&["requested", "COMMIT"]).receives(bye());
    ladder.does(&["failed caller_hung_up", "FailedAndGone"]);
    ladder.store_commits().after(60).does(&[]);
}

#[test]
fn a_subscription_that_ends_without_a_word_fails_after_a_grace() {
    let silence = |sipfrag| Input::Notified {
        sipfrag,
        last: true,
    };
    for sipfrag in [None, Some((100, "Trying".to_owned()))] {
        let mut ladder = Ladder::accepted();
        ladder.receives(silence(sipfrag)).after(4).does(&[]);
        ladder
            .after(1)
            .does(&["failed silent", "resumed", "Failed(Resume)"]);
    }
    let mut ladder = Ladder::accepted();
    ladder
        .receives(silence(None))
        .receives(bye())
        .after(5)
        .does(&["unconfirmed", "Unconfirmed"]);
    let mut ladder = Ladder::accepted();
    ladder
        .receives(silence(None))
        .receives(Input::KeyRead)
        .receives(bye());
    ladder.does(&["transferred", "TransferredAndGone"]);
}

#[test]
fn a_notify_without_a_status_line_only_shows_that_somebody_is_there() {
    let empty = || Input::Notified {
        sipfrag: None,
        last: false,
    };
    let mut ladder = Ladder::accepted();
    ladder
        .after(29)
        .receives(empty())
        .does(&[])
        .after(59)
        .does(&[]);
    ladder
        .after(1)
        .does(&["failed silent", "resumed", "Failed(Resume)"]);
}

#[test]
fn the_next_style_commits_again_before_it_is_tried() {
    let mut ladder = Ladder::referring_with(&with_hangup());
    ladder
        .receives(answer(405))
        .does(&["failed refused 405", "hangup: requested", "COMMIT"]);
    ladder.store_commits();
    ladder.does(&[
        "hangup: committed",
        "BYE Transfer-Target X-Session-History-Key",
    ]);
    ladder.receives(Input::ByeAnswered { status: 200 });
    ladder.does(&["hangup: returned 200", "Returned"]);
}

#[test]
fn a_bye_that_nobody_acknowledged_returns_nobody() {
    let hangup = Config {
        styles: vec![Style::Hangup],
        ..config()
    };
    let start = || {
        let mut ladder = Ladder::begin(&hangup, &Request::default());
        ladder.store_commits();
        ladder.does(&[
            "hangup: requested",
            "COMMIT",
            "hangup: committed",
            "BYE Transfer-Target X-Session-History-Key",
        ]);
        ladder
    };
    for status in [408, 481] {
        let mut ladder = start();
        ladder.receives(Input::ByeAnswered { status });
        ladder.does(&[&format!("hangup: unconfirmed {status}"), "Unconfirmed"]);
    }
    start()
        .receives(bye())
        .does(&["hangup: failed caller_hung_up", "FailedAndGone"]);
}

#[test]
fn a_failed_handoff_may_end_the_call_instead() {
    let config = Config {
        on_failure: OnFailure::Hangup,
        ..config()
    };
    let mut ladder = Ladder::referring_with(&config);
    ladder
        .receives(answer(603))
        .does(&["failed refused 603", "Failed(Hangup)"]);
}

#[test]
fn proof_that_comes_after_we_gave_up_is_the_truth() {
    let mut ladder = Ladder::accepted();
    ladder
        .after(30)
        .does(&["failed silent", "resumed", "Failed(Resume)"]);
    ladder
        .receives(notify(200))
        .does(&["transferred 200", "Transferred"]);

    let mut ladder = Ladder::referring();
    ladder
        .after(10)
        .does(&["failed no_answer", "resumed", "Failed(Resume)"]);
    ladder.receives(Input::KeyRead).does(&["transferred"]);
    assert!(ladder.handoff.is_transferred());
}

#[test]
fn proof_after_a_refusal_is_none() {
    let mut ladder = Ladder::referring();
    ladder
        .receives(answer(603))
        .does(&["failed refused 603", "resumed", "Failed(Resume)"]);
    ladder
        .receives(notify(200))
        .receives(Input::KeyRead)
        .receives(answer(202))
        .does(&[]);
}

#[test]
fn the_agents_last_words_are_heard_first_but_not_waited_for_for_ever() {
    let request = Request {
        say_first: Some("bye".into()),
        ..Request::default()
    };
    let marked = |name: &str| Input::Marked { name: name.into() };
    let mut ladder = Ladder::begin(&config(), &request);
    ladder
        .does(&["requested"])
        .receives(marked("other"))
        .after(9)
        .does(&[]);
    ladder.receives(marked("bye")).does(&["COMMIT"]);

    let mut ladder = Ladder::begin(&config(), &request);
    ladder.does(&["requested"]).after(10).does(&["COMMIT"]);
    ladder.receives(marked("bye")).does(&[]);

    let mut ladder = Ladder::begin(&config(), &request);
    ladder
        .does(&["requested"])
        .receives(bye())
        .does(&["failed caller_hung_up", "FailedAndGone"]);
}

#[test]
fn a_dialog_that_is_lost_ends_it_by_what_was_known() {
    let lost = || Input::DialogLost { why: "481".into() };
    let mut ladder = Ladder::begin(&config(), &Request::default());
    ladder
        .receives(lost())
        .does(&["requested", "COMMIT", "failed call_ended", "FailedAndGone"]);
    Ladder::accepted()
        .receives(lost())
        .does(&["unconfirmed", "Unconfirmed"]);
    Ladder::accepted()
        .receives(Input::KeyRead)
        .receives(lost())
        .does(&["transferred", "TransferredAndGone"]);
}

#[test]
fn a_caller_who_is_sent_on_before_the_answer_takes_the_key_along() {
    let key = HandoffKey::generate(&mut Entropy::from_number(1));
    let caller = Caller {
        key,
        allows_refer: false,
        placement: KeyPlacement::CustomHeader,
        us: None,
    };
    let request = Request {
        target: Some("sip:desk@pbx.example.com".into()),
        ..Request::default()
    };
    let handoff =
        Handoff::redirect(t0(), "ho-1".into(), &config(), &request, &caller).expect("valid");
    let mut ladder = Ladder {
        now: t0(),
        key,
        handoff,
    };
    ladder
        .does(&["redirect: requested", "COMMIT"])
        .store_commits();
    ladder.does(&[
        "redirect: committed",
        "302 <sip:desk@pbx.example.com?X-Session-History-Key=KEY>",
        "redirect: unconfirmed 302",
        "Redirected",
    ]);
}

#[test]
fn what_could_not_be_sent_has_failed_and_the_next_style_follows() {
    let mut ladder = Ladder::referring_with(&with_hangup());
    ladder.receives(Input::NotSent {
        why: "a REFER is pending".into(),
    });
    ladder.does(&["failed refused", "hangup: requested", "COMMIT"]);
}

#[test]
fn a_request_that_cannot_be_carried_out_reports_nothing() {
    let caller = Caller {
        key: HandoffKey::generate(&mut Entropy::from_number(1)),
        allows_refer: true,
        placement: KeyPlacement::ReferToHeader,
        us: None,
    };
    let begin = |request: Request| {
        Handoff::begin(t0(), "ho-1".into(), &config(), &request, &caller).expect_err("invalid")
    };
    let style = Request {
        style: Some("teleport".into()),
        ..Request::default()
    };
    assert_eq!(
        begin(style),
        RequestError::Style(UnknownStyle("teleport".into()))
    );
    let target = Request {
        target: Some("mailto:a@b".into()),
        ..Request::default()
    };
    assert_eq!(begin(target), RequestError::Context(ContextError::Scheme));
    let header = Request {
        headers: vec![("Via".into(), "x".into())],
        ..Request::default()
    };
    assert_eq!(
        begin(header),
        RequestError::Context(ContextError::Forbidden("Via".into()))
    );
}
