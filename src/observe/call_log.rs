//! One line per call, at its end: what an operator greps for.

use std::time::Duration;

use baton_core::leg::event::Summary;
use baton_core::vocab::{CallId, Pii};

/// A finished call.
#[derive(Debug, Clone)]
pub struct CallLine<'a> {
    /// Ours.
    pub call: &'a CallId,
    /// Call-ID of the INVITE.
    pub sip_call_id: &'a str,
    /// The trunk it came by.
    pub trunk: &'a str,
    /// The route that chose the agent.
    pub route: &'a str,
    /// The agent.
    pub agent: &'a str,
    /// Who called; masked in the log.
    pub from: &'a str,
    /// Whom; masked in the log.
    pub to: &'a str,
    /// INVITE to 200; `None`: never answered.
    pub setup: Option<Duration>,
    /// 200 to the agent's first audio in the caller's ear.
    pub first_audio: Option<Duration>,
    /// 200 to the end.
    pub talked: Option<Duration>,
    /// `end.kind`.
    pub end: &'a str,
    /// `end.by`.
    pub by: &'a str,
    /// `end.reason`.
    pub reason: &'a str,
    /// The last handoff's state, if there was one.
    pub handoff: Option<&'a str>,
    /// The voice.
    pub media: &'a Summary,
}

impl CallLine<'_> {
    /// Writes the line.
    pub fn log(&self) {
        let media = self.media;
        tracing::info!(
            target: "baton::call",
            call = %self.call,
            sip_call_id = self.sip_call_id,
            trunk = self.trunk,
            route = self.route,
            agent = self.agent,
            from = %Pii(self.from),
            to = %Pii(self.to),
            setup_ms = millis(self.setup),
            first_audio_ms = millis(self.first_audio),
            talked_ms = millis(self.talked),
            received = media.packets_received,
            lost = media.packets_lost,
            late = media.packets_late,
            refused = media.packets_refused,
            concealed_ms = media.concealed_ms,
            overflow_ms = media.overflow_ms,
            jitter_ms = media.jitter_ms,
            handoff = self.handoff,
            end = self.end,
            by = self.by,
            reason = self.reason,
            "call ended"
        );
    }
}

fn millis(duration: Option<Duration>) -> Option<u64> {
    duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_call_is_one_line_without_the_callers_number() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .json()
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            CallLine {
                call: &CallId::from("call-1"),
                sip_call_id: "x@y",
                trunk: "twilio",
                route: "support",
                agent: "scripted",
                from: "+15559870042",
                to: "+15551230099",
                setup: Some(Duration::from_millis(12)),
                first_audio: None,
                talked: Some(Duration::from_secs(3)),
                end: "transferred",
                by: "agent",
                reason: "",
                handoff: Some("transferred"),
                media: &Summary::default(),
            }
            .log();
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let fields = &line["fields"];
        assert_eq!(line["target"], "baton::call");
        assert_eq!(
            (&fields["setup_ms"], &fields["end"]),
            (&12.into(), &"transferred".into())
        );
        assert_eq!(fields["from"], "…42");
        assert!(fields.get("first_audio_ms").is_none());
        assert!(!text.contains("15559870042") && !text.contains("15551230099"));
    }
}
