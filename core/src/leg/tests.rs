//! A leg in virtual time: packets in, the frame clock, an agent that does as the test says.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::*;
use crate::agent::dialect::MessageKind;
use crate::agent::prompts::Prompt;
use crate::agent::{
    Audio, AudioFormat, CallInfo, Command as AgentCommand, Event as AgentEvent, Outbox,
};
use crate::media::rtp::packet::Packet;
use crate::testing::t0;
use crate::vocab::{CallId, Entropy, HandoffKey, PTIME};

const LOUD: u8 = 0x80;

/// An agent over a socket: what it hears and is told goes to the test; what the test sends is done.
#[derive(Debug)]
struct Probe {
    heard: SyncSender<Vec<u8>>,
    told: SyncSender<AgentCommand>,
}

impl Dialect for Probe {
    fn format(&self) -> AudioFormat {
        AudioFormat::Ulaw
    }

    fn link(&self) -> Option<LinkRequest> {
        Some(LinkRequest {
            url: "ws://127.0.0.1:1/".into(),
            subprotocol: None,
            headers: vec![],
        })
    }

    fn handle_open(&mut self, _now: Instant, out: &mut dyn Outbox) {
        out.event(AgentEvent::Ready);
    }

    fn handle_command(&mut self, _now: Instant, command: AgentCommand, out: &mut dyn Outbox) {
        out.send(Message::Text("told"), MessageKind::Control);
        self.told.send(command).expect("the test listens");
    }

    fn hear(&mut self, _now: Instant, _at: Duration, audio: Audio<'_>, _out: &mut dyn Outbox) {
        if let Audio::Ulaw(octets) = audio {
            self.heard.send(octets.to_vec()).expect("the test listens");
        }
    }

    /// Binary is audio; `mark NAME`, `clear` and `hangup` are themselves.
    fn handle_message(&mut self, _now: Instant, message: Message<'_>, out: &mut dyn Outbox) {
        match message {
            Message::Binary(octets) => out.play(Audio::Ulaw(octets)),
            Message::Text("clear") => out.event(AgentEvent::Clear),
            Message::Text(text) => match text.strip_prefix("mark ") {
                Some(name) => out.event(AgentEvent::Mark { name: name.into() }),
                None => out.event(AgentEvent::Hangup {
                    headers: vec![],
                    reason: None,
                }),
            },
        }
    }
}

struct Bench {
    leg: Leg,
    now: Instant,
    seq: u16,
    heard: Receiver<Vec<u8>>,
    told: Receiver<AgentCommand>,
}

fn caller() -> SocketAddr {
    "192.0.2.10:4000".parse().unwrap()
}

fn start() -> Start {
    let call = CallInfo {
        id: CallId::from("call-1"),
        sip_call_id: "c".into(),
        twilio_call_sid: None,
        from: "1".into(),
        to: "2".into(),
        trunk: "t".into(),
        route: "r".into(),
        headers: vec![],
    };
    let key = HandoffKey::generate(&mut Entropy::from_number(1));
    Start {
        call,
        key,
        input_context: std::collections::BTreeMap::new(),
    }
}

impl Bench {
    fn new() -> Self {
        let (heard_tx, heard) = sync_channel(10_000);
        let (told_tx, told) = sync_channel(1_000);
        let config = Config {
            remote: caller(),
            signalling: caller().ip(),
            latch: LatchPolicy::Nat,
            codec: Codec::Pcmu,
            telephone_event: Some(101),
            comfort_noise: None,
            send: true,
            receive: true,
            announce_speech: true,
            jitter: jitter::Config::default(),
            vad: vad::Config::default(),
            playout_max: Duration::from_secs(2),
            no_rtp_timeout: Duration::from_secs(5),
            ssrc: 7,
            seq: SeqNo(65_530),
            timestamp: RtpTimestamp(u32::MAX - 100),
        };
        let now = t0();
        let dialect = Box::new(Probe {
            heard: heard_tx,
            told: told_tx,
        });
        Self {
            leg: Leg::new(now, config, dialect, start(), None),
            now,
            seq: 0,
            heard,
            told,
        }
    }

    fn answered() -> Self {
        let mut bench = Self::new();
        bench.leg.handle_link_open(bench.now);
        bench.leg.handle_command(bench.now, Command::Answered);
        bench.events();
        bench
    }

    /// One tick later; what was sent in it.
    fn tick(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.now += PTIME;
        self.leg.handle_tick(self.now);
        let sent = self
            .leg
            .poll_transmit()
            .map(|(to, datagram)| (to, datagram.to_vec()));
        assert!(self.leg.poll_transmit().is_none(), "one packet a tick");
        while self.leg.poll_link().is_some() {}
        sent
    }

    fn ticks(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .filter_map(|_| self.tick())
            .map(|(_, datagram)| datagram)
            .collect()
    }

    fn rtp(&mut self, from: SocketAddr, payload_type: u8, payload: &[u8]) {
        self.seq += 1;
        let packet = Packet {
            marker: false,
            payload_type,
            seq: SeqNo(self.seq),
            timestamp: RtpTimestamp(u32::from(self.seq) * 160),
            ssrc: 99,
            payload,
        };
        let mut datagram = Vec::new();
        packet.write(&mut datagram);
        self.leg.handle_rtp(self.now, from, &datagram);
    }

    fn agent_plays(&mut self, octets: &[u8]) {
        self.leg
            .handle_link_message(self.now, Message::Binary(octets));
    }

    fn agent_says(&mut self, text: &str) {
        self.leg.handle_link_message(self.now, Message::Text(text));
    }

    fn events(&mut self) -> Vec<Event> {
        let all = std::iter::from_fn(|| self.leg.poll_event());
        all.filter(|event| !matches!(event, Event::Report(_)))
            .collect()
    }

    fn told(&self) -> Vec<AgentCommand> {
        self.told.try_iter().collect()
    }
}

fn payload(datagram: &[u8]) -> &[u8] {
    packet::parse(datagram).unwrap().payload
}

#[test]
fn a_packet_leaves_every_tick_from_the_answer_to_the_end_whatever_the_agent_does() {
    let mut bench = Bench::answered();
    assert_eq!(bench.ticks(50).len(), 50);
    bench.agent_plays(&[LOUD; 16_000]);
    assert_eq!(bench.ticks(50).len(), 50);
    let now = bench.now;
    bench.leg.handle_link_closed(now, false, "reset".into());
    let sent = bench.ticks(50);
    assert_eq!(sent.len(), 50);
    let numbers: Vec<_> = sent
        .iter()
        .map(|d| packet::parse(d).unwrap().seq.0)
        .collect();
    assert!(
        numbers
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1))
    );
    bench.leg.handle_command(
        bench.now,
        Command::Close {
            reason: "over".into(),
        },
    );
    assert_eq!(bench.ticks(3).len(), 0);
}

#[test]
fn before_the_answer_nothing_goes_either_way_and_the_greeting_waits() {
    let mut bench = Bench::new();
    bench.leg.handle_link_open(bench.now);
    assert_eq!(bench.events(), [Event::AgentOpen]);
    assert!(matches!(bench.told()[..], [AgentCommand::Start(_)]));
    bench.agent_plays(&[LOUD; 320]);
    bench.rtp(caller(), 0, &[LOUD; 160]);
    assert_eq!(bench.ticks(5).len(), 0);
    assert_eq!(bench.heard.try_iter().count(), 0);
    bench.leg.handle_command(bench.now, Command::Answered);
    assert_eq!(payload(&bench.ticks(1)[0]), [LOUD; 160]);
}

#[test]
fn the_callers_octets_reach_the_agent_as_they_came() {
    let mut bench = Bench::answered();
    bench.rtp(caller(), 0, &[0x55; 160]);
    bench.rtp(caller(), 0, &[0x66; 160]);
    let heard: Vec<_> = bench.heard.try_iter().collect();
    assert_eq!(heard, [vec![0x55; 160], vec![0x66; 160]]);
}

#[test]
fn rtcp_on_the_rtp_port_is_counted_and_believed_only_from_the_caller() {
    let mut bench = Bench::answered();
    bench.rtp(caller(), 0, &[0x55; 160]);
    let before = bench.leg.summary();
    // A receiver report with one block: 5 of our packets lost.
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 99, 0, 0, 0, 7, 0x10, 0, 0, 5];
    report.extend([0; 16]);
    let now = bench.now;
    bench.leg.handle_rtp(now, caller(), &report);
    let after = bench.leg.summary();
    assert_eq!((after.rtcp_received, after.far_end_lost), (1, 5));
    assert_eq!(after.packets_received, before.packets_received);
    assert_eq!(after.packets_refused, before.packets_refused);
    let stranger = "198.51.100.66:4000".parse().unwrap();
    report[15] = 200;
    bench.leg.handle_rtp(now, stranger, &report);
    bench.leg.handle_rtp(now, caller(), &report[..20]);
    let after = bench.leg.summary();
    assert_eq!((after.rtcp_received, after.far_end_lost), (1, 5));
    assert_eq!(after.packets_refused, before.packets_refused + 2);
    assert_eq!(bench.heard.try_iter().count(), 1, "none of it is audio");
}

#[test]
fn a_stranger_is_neither_heard_nor_spoken_to() {
    let mut bench = Bench::answered();
    bench.rtp(caller(), 0, &[0x55; 160]);
    let stranger = "198.51.100.66:4000".parse().unwrap();
    for _ in 0..100 {
        bench.rtp(stranger, 0, &[LOUD; 160]);
        let (to, _) = bench.tick().unwrap();
        assert_eq!(to, caller());
    }
    assert!(bench.heard.try_iter().all(|octets| octets != [LOUD; 160]));
    bench.leg.handle_rtp(bench.now, caller(), b"GET / HTTP/1.1");
    bench.leg.handle_rtp(bench.now, caller(), &[]);
    bench.leg.handle_command(
        bench.now,
        Command::Close {
            reason: String::new(),
        },
    );
    let Some(Event::Closed(summary)) = bench.events().pop() else {
        panic!("not closed")
    };
    assert_eq!(summary.packets_refused, 102);
}

#[test]
fn a_key_press_reaches_the_agent_and_the_call_once() {
    let mut bench = Bench::answered();
    bench.told();
    for (end, duration) in [(0, 160), (0, 320), (0x80, 480), (0x80, 480), (0x80, 480)] {
        bench.seq += 1;
        let [high, low] = u16::to_be_bytes(duration);
        let event = Packet {
            marker: duration == 160,
            payload_type: 101,
            seq: SeqNo(bench.seq),
            timestamp: RtpTimestamp(160),
            ssrc: 99,
            payload: &[5, end + 10, high, low],
        };
        let mut datagram = Vec::new();
        event.write(&mut datagram);
        bench.leg.handle_rtp(bench.now, caller(), &datagram);
        bench.tick();
    }
    bench.ticks(20);
    let digits = bench
        .events()
        .iter()
        .filter(|e| matches!(e, Event::Digit { digit: '5', .. }))
        .count();
    let told = bench
        .told()
        .iter()
        .filter(|c| matches!(c, AgentCommand::Dtmf { digit: '5', .. }))
        .count();
    assert_eq!((digits, told), (1, 1));
}

#[test]
fn speech_is_told_to_the_call_always_and_to_the_agent_as_configured() {
    let speech = include_bytes!("../../../assets/demo/caller.ulaw");
    for announced in [true, false] {
        let mut bench = Bench::answered();
        bench.leg.config.announce_speech = announced;
        for payload in speech.as_chunks::<160>().0 {
            bench.rtp(caller(), 0, payload);
            bench.tick();
        }
        let is_speech = |c: &AgentCommand| matches!(c, AgentCommand::SpeechStarted { .. });
        assert_eq!(bench.told().iter().any(is_speech), announced);
        let heard = |e: &Event| matches!(e, Event::SpeechStarted { .. });
        assert!(bench.events().iter().any(heard));
    }
}

#[test]
fn a_mark_comes_back_when_its_audio_was_sent() {
    let mut bench = Bench::answered();
    bench.told();
    bench.agent_plays(&[LOUD; 480]);
    bench.agent_says("mark end");
    bench.ticks(2);
    assert_eq!(bench.told(), []);
    bench.ticks(2);
    let told = bench.told();
    assert!(
        matches!(&told[..], [AgentCommand::Mark { name, heard: true, .. }] if name == "end"),
        "{told:?}"
    );
    assert!(
        bench
            .events()
            .iter()
            .any(|e| matches!(e, Event::Marked { heard: true, .. }))
    );
}

#[test]
fn clear_silences_the_ear_at_the_next_tick_and_tells_what_was_heard() {
    let mut bench = Bench::answered();
    bench.agent_plays(&[LOUD; 8_000]);
    bench.agent_says("mark end");
    bench.ticks(10);
    bench.told();
    bench.agent_says("clear");
    let sent = bench.ticks(1);
    assert!(
        payload(&sent[0]).iter().all(|octet| octet & 0x7f > 0x60),
        "not silent"
    );
    let told = bench.told();
    assert!(
        told.contains(&AgentCommand::Cleared {
            heard: Duration::from_millis(200)
        }),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|c| matches!(c, AgentCommand::Mark { heard: false, .. }))
    );
}

#[test]
fn an_agent_too_far_ahead_loses_its_newest_audio_and_is_reported_once() {
    let mut bench = Bench::answered();
    for _ in 0..40 {
        bench.agent_plays(&[LOUD; 1_600]);
    }
    let full = bench
        .events()
        .iter()
        .filter(|e| matches!(e, Event::PlayoutFull))
        .count();
    assert_eq!(full, 1);
}

#[test]
fn media_is_lost_after_the_timeout_but_not_on_hold() {
    let mut bench = Bench::answered();
    let hold = |receive| renegotiated(receive, sdp::Codec::Pcmu);
    bench.leg.handle_command(bench.now, hold(false));
    bench.rtp(caller(), 0, &[0x55; 160]);
    assert_eq!(bench.ticks(400).len(), 0);
    assert!(!bench.events().contains(&Event::MediaLost));
    bench.leg.handle_command(bench.now, hold(true));
    bench.ticks(249);
    assert!(!bench.events().contains(&Event::MediaLost));
    bench.ticks(2);
    let lost = bench
        .events()
        .iter()
        .filter(|e| **e == Event::MediaLost)
        .count();
    bench.ticks(500);
    assert_eq!(
        lost + bench
            .events()
            .iter()
            .filter(|e| **e == Event::MediaLost)
            .count(),
        1
    );
}

fn renegotiated(both_ways: bool, codec: sdp::Codec) -> Command {
    Command::Renegotiated(Box::new(Renegotiated {
        remote: caller(),
        send: both_ways,
        receive: both_ways,
        codec,
        payload_type: 0,
        telephone_event: Some(101),
    }))
}

#[test]
fn a_codec_changed_in_mid_sentence_carries_the_sentence_over() {
    let mut bench = Bench::answered();
    bench.agent_plays(&[LOUD; 800]);
    bench.ticks(2);
    let change = renegotiated(true, sdp::Codec::Pcma);
    bench.leg.handle_command(bench.now, change);
    let sent = bench.ticks(1).remove(0);
    let packet = packet::parse(&sent).unwrap();
    let loud =
        crate::media::g711::encode(Codec::Pcma, crate::media::g711::decode(Codec::Pcmu, LOUD));
    assert_eq!((packet.payload_type, packet.payload), (8, &[loud; 160][..]));
    bench.rtp(caller(), 8, &[0xd5; 160]);
    let heard = bench.heard.try_iter().last().unwrap();
    assert!(
        heard.iter().all(|octet| octet & 0x7f > 0x70),
        "A-law silence is heard as silence"
    );
}

#[test]
fn a_prompt_of_our_own_is_heard_and_reported_even_without_an_agent() {
    let mut bench = Bench::answered();
    bench.leg.handle_link_closed(bench.now, true, "done".into());
    assert!(bench.events().contains(&Event::AgentClosed {
        clean: true,
        why: "done".into()
    }));
    bench
        .leg
        .handle_command(bench.now, Command::Prompt(Prompt::TransferFailed));
    let sent = bench.ticks(600);
    assert!(
        sent.iter()
            .any(|d| payload(d).iter().any(|o| *o & 0x7f < 0x30)),
        "no speech"
    );
    assert!(
        bench
            .events()
            .contains(&Event::PromptEnded(Prompt::TransferFailed))
    );
}

#[test]
fn closing_stops_the_agent_closes_its_socket_and_is_the_last_event() {
    let mut bench = Bench::answered();
    bench.told();
    bench.leg.handle_command(
        bench.now,
        Command::Close {
            reason: "caller hung up".into(),
        },
    );
    let closes = std::iter::from_fn(|| {
        bench
            .leg
            .poll_link()
            .map(|output| matches!(output, LinkOutput::Close { code: 1000, .. }))
    });
    assert_eq!(closes.filter(|is_close| *is_close).count(), 1);
    assert_eq!(
        bench.told(),
        [AgentCommand::Stop {
            reason: "caller hung up".into()
        }]
    );
    assert!(!bench.leg.is_finished());
    assert!(matches!(bench.events().last(), Some(Event::Closed(_))));
    assert!(bench.leg.is_finished());
}
