//! A call on a terminal: its ladder as it grows, and two level meters under it. On anything else: plain lines.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::net::sip_task::{Direction, WireLine};
use crate::softphone::PhoneEvent;

/// Between the two lifelines.
const WIDTH: usize = 46;
/// Cells of a level meter.
const CELLS: usize = 20;
/// The quietest level a meter shows.
const FLOOR_DBFS: f32 = -60.0;

/// Shows one call to people.
#[derive(Debug)]
pub struct LadderView {
    started: Instant,
    /// `None`: not a terminal.
    meter: Option<ProgressBar>,
    lines: Lines,
}

/// Where lines go when there is no meter to keep below them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    Nowhere,
    Stderr,
    Stdout,
}

impl LadderView {
    /// A view of a call that starts now, on standard error; `silent` shows nothing at all.
    pub fn new(now: Instant, silent: bool) -> Self {
        let meter = (!silent && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("  {spinner} {elapsed_precise}  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        let lines = if silent {
            Lines::Nowhere
        } else {
            Lines::Stderr
        };
        Self {
            started: now,
            meter,
            lines,
        }
    }

    /// A view on standard output, without meters: the ladder is what the command is for.
    pub fn on_stdout(now: Instant) -> Self {
        Self {
            started: now,
            meter: None,
            lines: Lines::Stdout,
        }
    }

    /// Shows the two ends.
    pub fn ends(&self, left: &str, right: &str) {
        self.line(&format!("{:9}  {left:<WIDTH$}{right}", ""));
    }

    /// Shows what happened.
    pub fn show(&self, event: &PhoneEvent) {
        if let PhoneEvent::Level { heard, said } = event {
            if let Some(bar) = &self.meter {
                bar.set_message(format!("heard {}  said {}", meter(*heard), meter(*said)));
                bar.tick();
            }
            return;
        }
        if let Some(text) = self.describe(event) {
            self.line(&text);
        }
    }

    /// Removes the meters.
    pub fn finish(&self) {
        if let Some(bar) = &self.meter {
            bar.finish_and_clear();
        }
    }

    /// Writes one line above the meters.
    pub fn line(&self, text: &str) {
        match (&self.meter, self.lines) {
            (_, Lines::Nowhere) => {}
            (Some(bar), _) => bar.println(text),
            (None, Lines::Stderr) => eprintln!("{text}"),
            (None, Lines::Stdout) => println!("{text}"),
        }
    }

    fn describe(&self, event: &PhoneEvent) -> Option<String> {
        let note = |text: String| Some(format!("{:9}  · {text}", ""));
        match event {
            PhoneEvent::Wire(line) => Some(rung(line, self.started)),
            PhoneEvent::FirstPacket(after) => {
                note(format!("first packet {} after the answer", millis(*after)))
            }
            PhoneEvent::FirstVoice(after) => {
                note(format!("first voice {} after the answer", millis(*after)))
            }
            PhoneEvent::PlayedOut => note("all was said".into()),
            PhoneEvent::Pressed(digits) => note(format!("pressed {digits}")),
            PhoneEvent::Digit(digit) => note(format!("heard the key {digit}")),
            PhoneEvent::Held(true) => note("on hold".into()),
            PhoneEvent::Held(false) => note("no longer on hold".into()),
            PhoneEvent::Referred(to) => note(format!("asked to transfer to {to}")),
            PhoneEvent::Webhook(report) => note(match (&report.status, &report.error) {
                (Some(status), _) => format!("the refer URL answered {status}"),
                (None, Some(error)) => format!("the refer URL did not answer: {error}"),
                (None, None) => "the refer URL did not answer".into(),
            }),
            // Seen on the wire, or in the meters.
            PhoneEvent::Ringing(_)
            | PhoneEvent::Answered(_)
            | PhoneEvent::Notified(_)
            | PhoneEvent::Level { .. } => None,
        }
    }
}

/// One message as an arrow between the lifelines, with its time, and with its transport when that is not UDP.
pub fn rung(line: &WireLine, started: Instant) -> String {
    let at = millis(line.at.saturating_duration_since(started));
    let mut label = line.label();
    if line.flow.transport.is_reliable() {
        label = format!("{label} ({})", line.flow.transport.as_str());
    }
    let room = WIDTH.saturating_sub(label.chars().count() + 6).max(1);
    let shaft = "─".repeat(room);
    match line.direction {
        Direction::Sent => format!("{at:>9}  │── {label} {shaft}►│"),
        Direction::Received => format!("{at:>9}  │◄{shaft} {label} ──│"),
    }
}

/// A level as a bar and a number.
fn meter(dbfs: f32) -> String {
    let share = ((dbfs - FLOOR_DBFS) / -FLOOR_DBFS).clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of 20 cells"
    )]
    let lit = (share * CELLS as f32).round() as usize;
    format!(
        "{}{} {dbfs:>4.0} dB",
        "▮".repeat(lit),
        "▯".repeat(CELLS - lit)
    )
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use baton_core::sip::endpoint::{Flow, Transport};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test's epoch")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn line(direction: Direction, start_line: &str, at: Instant) -> WireLine {
        WireLine {
            at,
            direction,
            flow: Flow {
                transport: Transport::Udp,
                local: "127.0.0.1:5060".parse().unwrap(),
                remote: "127.0.0.1:5070".parse().unwrap(),
            },
            call_id: "x".into(),
            start_line: start_line.into(),
            method: "INVITE".into(),
            sipfrag: None,
        }
    }

    #[test]
    fn every_rung_has_the_same_width_and_points_its_way() {
        let t0 = epoch();
        let sent = rung(&line(Direction::Sent, "INVITE sip:a@b SIP/2.0", t0), t0);
        let later = t0 + Duration::from_millis(123);
        let received = rung(&line(Direction::Received, "SIP/2.0 200 OK", later), t0);
        assert_eq!(sent.chars().count(), received.chars().count());
        assert!(
            sent.starts_with("     0 ms  │── INVITE ─") && sent.ends_with("─►│"),
            "{sent}"
        );
        assert!(
            received.starts_with("   123 ms  │◄─") && received.ends_with("200 OK (INVITE) ──│"),
            "{received}"
        );
    }

    #[test]
    fn a_label_longer_than_the_ladder_breaks_nothing() {
        let t0 = epoch();
        let long = format!("SIP/2.0 500 {}", "x".repeat(300));
        assert!(rung(&line(Direction::Sent, &long, t0), t0).contains("500"));
    }

    #[test]
    fn meters_are_empty_in_silence_and_full_at_full_scale() {
        assert!(meter(-96.0).starts_with("▯▯"));
        assert!(meter(0.0).starts_with(&"▮".repeat(CELLS)));
        assert_eq!(meter(-30.0).matches('▮').count(), 10);
        assert_eq!(meter(f32::NAN).matches('▮').count(), 0);
    }
}
