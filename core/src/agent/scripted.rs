//! The embedded agent: greets, listens, plays back what it heard, and hands over when asked to. No network, no
//! recogniser; turns come from the voice activity detector. It is what `baton demo` and an empty configuration run on.
//!
//! ```text
//!            start                  mark heard                speech
//!   Idle ──────────► Speaking ──────────────────► Listening ──────────► Hearing
//!                       ▲  │  speech: clear, Hearing    │                  │
//!                       │  │                            │ no reply: ask    │ silence: play back
//!                       │◄─┼────────────────────────────┴──────────────────┘
//!              resumed  │  │ `0`, no reply twice, enough turns
//!                    HandingOff ──► (transferred) Stopped
//! ```

mod ear;

use std::time::{Duration, Instant};

use super::prompts::Prompt;
use super::{
    Audio, AudioFormat, Command, Dialect, Event, HandoffRequest, HandoffUpdate, LinkRequest,
    Message, Outbox, Role,
};
use crate::vocab::Timers;
use ear::Ear;

/// Played back around the detector's edges, which sit inside soft consonants.
const MARGIN: Duration = Duration::from_millis(100);
/// Shorter sounds are coughs and clicks, not turns.
const LEAST_TURN: Duration = Duration::from_millis(150);
/// A mark that did not come this long after its audio must have ended will not come.
const MARK_GRACE: Duration = Duration::from_secs(5);
/// A handoff that nobody speaks of this long after it was announced will not happen.
const UNHEARD_AFTER: Duration = Duration::from_secs(10);
/// How long after a failed handoff another style may begin before we speak.
const SORRY_AFTER: Duration = Duration::from_secs(2);

/// The script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Hand over after so many turns of the caller; `None`: only when asked, or when nobody speaks.
    pub max_turns: Option<u32>,
    /// How long the caller may think before being asked again, and then before the handoff.
    pub reply_within: Duration,
    /// First sentence of the summary that the human reads.
    pub summary: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_turns: None,
            reply_within: Duration::from_secs(6),
            summary: "The caller talked to the scripted agent.".into(),
        }
    }
}

/// The dialect of `kind = "scripted"`.
#[derive(Debug)]
pub struct Scripted {
    config: Config,
    state: State,
    timers: Timers<Timer>,
    ear: Ear,
    turns: Turns,
    /// The far end holds us: nobody can reply.
    held: bool,
    /// Number of the last mark.
    marks: u32,
}

#[derive(Debug)]
enum State {
    /// No call yet.
    Idle,
    /// A prompt is on its way; ends when the mark of this number was heard.
    Speaking { mark: u32 },
    /// The caller's turn, not taken yet.
    Listening,
    /// The caller speaks since this media time.
    Hearing { from: Duration },
    /// A human is being found; we are silent.
    HandingOff,
    /// The call is over.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Timer {
    /// The caller did not reply.
    Reply,
    /// The mark did not come back.
    Mark,
    /// The handoff failed, or was never taken up, and nothing follows.
    Sorry,
}

/// What happened so far, for the human.
#[derive(Debug, Default)]
struct Turns {
    count: u32,
    spoken: Duration,
    /// Times in a row that nobody replied.
    silences: u32,
}

impl Scripted {
    /// An agent with this script.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            state: State::Idle,
            timers: Timers::default(),
            ear: Ear::default(),
            turns: Turns::default(),
            held: false,
            marks: 0,
        }
    }

    /// Plays `prompt`, then listens.
    fn say(&mut self, now: Instant, prompt: Prompt, out: &mut dyn Outbox) {
        out.play(Audio::Ulaw(prompt.ulaw()));
        transcribe(Role::Agent, prompt.text(), out);
        self.await_mark(now, prompt.duration(), out);
    }

    /// Marks the end of what was just queued and waits for it.
    fn await_mark(&mut self, now: Instant, length: Duration, out: &mut dyn Outbox) {
        self.marks += 1;
        out.event(Event::Mark {
            name: mark_name(self.marks),
        });
        self.timers.cancel(Timer::Reply);
        self.timers.set(Timer::Mark, now + length + MARK_GRACE);
        self.state = State::Speaking { mark: self.marks };
    }

    fn listen(&mut self, now: Instant) {
        self.timers.cancel(Timer::Mark);
        self.state = State::Listening;
        if !self.held {
            self.timers
                .set(Timer::Reply, now + self.config.reply_within);
        }
    }

    fn handle_speech(&mut self, at: Duration, out: &mut dyn Outbox) {
        match self.state {
            State::Speaking { .. } => out.event(Event::Clear),
            State::Listening => {}
            State::Idle | State::Hearing { .. } | State::HandingOff | State::Stopped => return,
        }
        self.timers.cancel(Timer::Mark);
        self.timers.cancel(Timer::Reply);
        self.ear.begin(at.saturating_sub(MARGIN));
        self.state = State::Hearing { from: at };
    }

    fn handle_silence(&mut self, now: Instant, at: Duration, out: &mut dyn Outbox) {
        let State::Hearing { from } = self.state else {
            return;
        };
        let spoken = at.saturating_sub(from);
        if spoken < LEAST_TURN {
            return self.listen(now);
        }
        self.turns.count += 1;
        self.turns.spoken = self.turns.spoken.saturating_add(spoken);
        self.turns.silences = 0;
        let note = format!("(caller spoke for {:.1} s)", spoken.as_secs_f32());
        transcribe(Role::Caller, &note, out);
        self.tell_context(out);
        self.ear.end(at.saturating_add(MARGIN));
        let length = self.play_back(out);
        if self
            .config
            .max_turns
            .is_some_and(|max| self.turns.count >= max)
        {
            self.hand_off(now, "the script is at its end", out);
        } else {
            out.play(Audio::Ulaw(Prompt::WhatElse.ulaw()));
            transcribe(Role::Agent, Prompt::WhatElse.text(), out);
            self.await_mark(now, length + Prompt::WhatElse.duration(), out);
        }
    }

    fn play_back(&mut self, out: &mut dyn Outbox) -> Duration {
        out.play(Audio::Ulaw(Prompt::IHeard.ulaw()));
        transcribe(Role::Agent, Prompt::IHeard.text(), out);
        out.play(Audio::Ulaw(self.ear.octets()));
        Prompt::IHeard.duration() + self.ear.duration()
    }

    fn tell_context(&self, out: &mut dyn Outbox) {
        let mut set = serde_json::Map::new();
        set.insert("turns".into(), self.turns.count.into());
        out.event(Event::Context {
            set,
            current_task: Some("listening".into()),
            transfer: serde_json::Map::new(),
        });
    }

    fn handle_no_reply(&mut self, now: Instant, out: &mut dyn Outbox) {
        self.turns.silences += 1;
        if self.turns.silences < 2 {
            self.say(now, Prompt::StillThere, out);
        } else {
            self.hand_off(now, "no reply", out);
        }
    }

    fn handle_digit(&mut self, now: Instant, digit: char, out: &mut dyn Outbox) {
        match (&self.state, digit) {
            (State::Speaking { .. }, '0') => {
                out.event(Event::Clear);
                self.hand_off(now, "caller pressed 0", out);
            }
            (State::Listening | State::Hearing { .. }, '0') => {
                self.hand_off(now, "caller pressed 0", out);
            }
            // Any other key says that somebody is there.
            (State::Listening, _) => {
                self.turns.silences = 0;
                self.listen(now);
            }
            (_, _) => {}
        }
    }

    fn hand_off(&mut self, now: Instant, reason: &str, out: &mut dyn Outbox) {
        self.timers = Timers::default();
        let silence = Prompt::ToAPerson.duration() + UNHEARD_AFTER;
        self.timers.set(Timer::Sorry, now + silence);
        out.play(Audio::Ulaw(Prompt::ToAPerson.ulaw()));
        transcribe(Role::Agent, Prompt::ToAPerson.text(), out);
        self.marks += 1;
        let mark = mark_name(self.marks);
        out.event(Event::Mark { name: mark.clone() });
        let Turns { count, spoken, .. } = self.turns;
        out.event(Event::Handoff(HandoffRequest {
            reason: Some(reason.into()),
            summary: Some(format!(
                "{} Turns: {count}, {:.1} s of speech. Handed over because: {reason}.",
                self.config.summary,
                spoken.as_secs_f32()
            )),
            say_first: Some(mark),
            ..HandoffRequest::default()
        }));
        self.state = State::HandingOff;
    }

    fn handle_handoff(&mut self, now: Instant, update: &HandoffUpdate, out: &mut dyn Outbox) {
        match (&self.state, update.state) {
            (State::HandingOff, "resumed") => self.say_sorry(now, out),
            // Another style may be tried next; it says so at once.
            (State::HandingOff, "failed") => self.timers.set(Timer::Sorry, now + SORRY_AFTER),
            (State::HandingOff, _) => self.timers.cancel(Timer::Sorry),
            // There is no call, or what failed was not announced to us: we talk already.
            (State::Idle | State::Stopped, _) | (_, "failed" | "resumed") => {}
            // Somebody else asked for it: the caller's escape digit, or the HTTP API.
            (State::Speaking { .. }, _) => {
                out.event(Event::Clear);
                self.fall_silent();
            }
            (State::Listening | State::Hearing { .. }, _) => self.fall_silent(),
        }
    }

    fn fall_silent(&mut self) {
        self.timers = Timers::default();
        self.state = State::HandingOff;
    }

    fn say_sorry(&mut self, now: Instant, out: &mut dyn Outbox) {
        self.timers.cancel(Timer::Sorry);
        self.turns.silences = 0;
        self.say(now, Prompt::TransferFailed, out);
    }

    fn handle_hold(&mut self, now: Instant, held: bool) {
        self.held = held;
        match self.state {
            // Nobody can reply, and nobody finishes a sentence.
            State::Listening | State::Hearing { .. } if held => {
                self.timers.cancel(Timer::Reply);
                self.state = State::Listening;
            }
            State::Listening => self.listen(now),
            State::Idle
            | State::Speaking { .. }
            | State::Hearing { .. }
            | State::HandingOff
            | State::Stopped => {}
        }
    }
}

impl Dialect for Scripted {
    fn format(&self) -> AudioFormat {
        AudioFormat::Ulaw
    }

    fn link(&self) -> Option<LinkRequest> {
        None
    }

    fn handle_open(&mut self, _now: Instant, out: &mut dyn Outbox) {
        out.event(Event::Ready);
    }

    fn handle_command(&mut self, now: Instant, command: Command, out: &mut dyn Outbox) {
        match command {
            Command::Start(_) if matches!(self.state, State::Idle) => {
                self.say(now, Prompt::Greeting, out);
            }
            Command::SpeechStarted { at } => self.handle_speech(at, out),
            Command::SpeechStopped { at } => self.handle_silence(now, at, out),
            Command::Dtmf { digit, .. } => self.handle_digit(now, digit, out),
            // Heard or cleared: in both cases nothing is left to play.
            Command::Mark { name, .. } => {
                if matches!(self.state, State::Speaking { mark } if mark_name(mark) == name) {
                    self.listen(now);
                }
            }
            Command::Hold => self.handle_hold(now, true),
            Command::Resume => self.handle_hold(now, false),
            Command::Handoff(update) => self.handle_handoff(now, &update, out),
            Command::Stop { .. } => {
                self.timers = Timers::default();
                self.state = State::Stopped;
            }
            // The one wish of ours that can be refused is a handoff.
            Command::Error { .. } if matches!(self.state, State::HandingOff) => {
                self.timers.set(Timer::Sorry, now + SORRY_AFTER);
            }
            // A second start, and what only agents with a socket can act on.
            Command::Start(_) | Command::Cleared { .. } | Command::Error { .. } => {}
        }
    }

    fn hear(&mut self, _now: Instant, at: Duration, audio: Audio<'_>, _out: &mut dyn Outbox) {
        if let Audio::Ulaw(octets) = audio {
            let taking = matches!(self.state, State::Hearing { .. });
            self.ear.hear(at, octets, taking);
        }
    }

    fn handle_message(&mut self, _now: Instant, _message: Message<'_>, _out: &mut dyn Outbox) {}

    fn handle_timeout(&mut self, now: Instant, out: &mut dyn Outbox) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Reply => self.handle_no_reply(now, out),
                Timer::Mark => self.listen(now),
                Timer::Sorry => self.say_sorry(now, out),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

fn mark_name(number: u32) -> String {
    format!("scripted-{number}")
}

fn transcribe(role: Role, text: &str, out: &mut dyn Outbox) {
    out.event(Event::Transcript {
        role,
        text: text.to_owned(),
        is_final: true,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::ladder::{Ladder, start};
    use crate::vocab::HandoffId;

    type Call = Ladder<Scripted>;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Answered, greeted, and listening.
    fn greeted(config: Config) -> Call {
        let mut call = Ladder::new(Scripted::new(config));
        call.opens();
        call.command(start());
        call.marks(1, true);
        call
    }

    impl Call {
        fn marks(&mut self, number: u32, heard: bool) {
            let at = self.at;
            self.command(Command::Mark {
                name: mark_name(number),
                heard,
                at,
            });
        }

        /// The caller speaks: `time` of this octet, noticed 60 ms late, ended after a hangover of 400 ms.
        fn speaks(&mut self, octet: u8, time: Duration) {
            let from = self.at;
            self.listens(octet, ms(60));
            self.command(Command::SpeechStarted { at: from });
            self.listens(octet, time.saturating_sub(ms(60)));
            let until = self.at;
            self.listens(0xff, ms(400));
            self.command(Command::SpeechStopped { at: until });
        }

        fn listens(&mut self, octet: u8, time: Duration) {
            for _ in 0..time.as_millis() / 20 {
                self.hears(Audio::Ulaw(&[octet; 160]));
                self.advance(ms(20));
            }
        }

        fn presses(&mut self, digit: char) {
            let at = self.at;
            self.command(Command::Dtmf {
                digit,
                duration: ms(100),
                at,
            });
        }

        fn told(&mut self, state: &'static str) {
            self.command(Command::Handoff(HandoffUpdate {
                id: HandoffId::from("ho-1"),
                state,
                style: "refer",
                sip_status: None,
                reason: None,
            }));
        }

        /// What it said in words since last asked.
        fn words(&mut self) -> Vec<String> {
            self.events()
                .into_iter()
                .filter_map(|event| {
                    if let Event::Transcript { text, .. } = event {
                        Some(text)
                    } else {
                        None
                    }
                })
                .collect()
        }

        fn handoff(&mut self) -> Option<HandoffRequest> {
            self.events().into_iter().find_map(|event| {
                if let Event::Handoff(request) = event {
                    Some(request)
                } else {
                    None
                }
            })
        }
    }

    #[test]
    fn it_greets_with_recorded_speech() {
        let mut call = Ladder::new(Scripted::new(Config::default()));
        call.opens();
        assert_eq!(call.events(), [Event::Ready]);
        assert!(call.played().is_empty());
        call.command(start());
        assert_eq!(call.played(), Prompt::Greeting.ulaw());
        assert_eq!(
            call.events(),
            [
                Event::Transcript {
                    role: Role::Agent,
                    text: Prompt::Greeting.text().into(),
                    is_final: true
                },
                Event::Mark {
                    name: "scripted-1".into()
                }
            ]
        );
        call.command(start());
        assert!(call.played().is_empty());
    }

    #[test]
    fn it_plays_back_what_it_heard_from_the_first_sound_on() {
        let mut call = greeted(Config::default());
        call.played();
        call.listens(0xff, ms(1000));
        call.speaks(0x11, ms(2400));
        let sound = call.played();
        let heard = sound
            .strip_prefix(Prompt::IHeard.ulaw())
            .and_then(|rest| rest.strip_suffix(Prompt::WhatElse.ulaw()))
            .unwrap();
        let (before, rest) = heard.split_at(800);
        let (speech, after) = rest.split_at(2400 * 8);
        assert_eq!((before, after), (&[0xff; 800][..], &[0xff; 800][..]));
        assert!(speech.iter().all(|octet| *octet == 0x11));
    }

    #[test]
    fn it_writes_a_note_and_context_for_each_turn() {
        let mut call = greeted(Config::default());
        call.events();
        call.speaks(0x11, ms(2400));
        let events = call.events();
        assert_eq!(
            events[0],
            Event::Transcript {
                role: Role::Caller,
                text: "(caller spoke for 2.4 s)".into(),
                is_final: true
            }
        );
        assert!(
            matches!(&events[1], Event::Context { set, current_task: Some(task), .. } if set["turns"] == 1 && task == "listening")
        );
        call.marks(2, true);
        call.speaks(0x11, ms(1000));
        assert!(matches!(&call.events()[1], Event::Context { set, .. } if set["turns"] == 2));
    }

    #[test]
    fn a_long_turn_is_kept_to_ten_seconds() {
        let mut call = greeted(Config::default());
        call.played();
        call.speaks(0x11, ms(60_000));
        let extra = Prompt::IHeard.ulaw().len() + Prompt::WhatElse.ulaw().len();
        assert!(call.played().len() - extra <= ear::MAX_TURN);
        assert!(
            call.words()
                .contains(&"(caller spoke for 60.0 s)".to_owned())
        );
    }

    #[test]
    fn a_cough_is_no_turn() {
        let mut call = greeted(Config::default());
        call.played();
        call.events();
        call.speaks(0x11, ms(100));
        assert!(call.played().is_empty());
        assert_eq!(call.words(), [""; 0]);
    }

    #[test]
    fn speech_over_a_prompt_clears_it_and_is_a_turn() {
        let mut call = Ladder::new(Scripted::new(Config::default()));
        call.command(start());
        call.events();
        call.speaks(0x11, ms(1000));
        assert_eq!(call.events()[0], Event::Clear);
        // The cleared mark comes late and means nothing now.
        call.marks(1, false);
        call.marks(2, true);
        call.events();
        call.advance(ms(6000));
        assert_eq!(call.words(), [Prompt::StillThere.text()]);
    }

    #[test]
    fn zero_hands_over_at_once_with_a_summary() {
        let mut call = Ladder::new(Scripted::new(Config::default()));
        call.command(start());
        call.events();
        call.played();
        call.presses('0');
        let events = call.events();
        assert_eq!(events[0], Event::Clear);
        assert_eq!(call.played(), Prompt::ToAPerson.ulaw());
        let Some(Event::Handoff(request)) = events.last() else {
            panic!("{events:?}");
        };
        assert_eq!(request.reason.as_deref(), Some("caller pressed 0"));
        assert!(request.summary.as_deref().unwrap().contains("Turns: 0"));
        let mark = request.say_first.clone().unwrap();
        assert!(events.contains(&Event::Mark { name: mark }));
        call.presses('0');
        assert_eq!(call.events(), []);
    }

    #[test]
    fn two_silences_in_a_row_hand_over() {
        let mut call = greeted(Config::default());
        call.events();
        call.advance(ms(5999));
        assert_eq!(call.events(), []);
        call.advance(ms(1));
        assert_eq!(call.words(), [Prompt::StillThere.text()]);
        call.marks(2, true);
        call.advance(ms(6000));
        assert_eq!(call.handoff().unwrap().reason.as_deref(), Some("no reply"));
    }

    #[test]
    fn a_word_or_a_key_between_two_silences_starts_the_count_anew() {
        let mut call = greeted(Config::default());
        call.advance(ms(6000));
        call.marks(2, true);
        call.presses('5');
        call.advance(ms(6000));
        call.marks(3, true);
        call.speaks(0x11, ms(1000));
        call.marks(4, true);
        call.advance(ms(6000));
        assert_eq!(call.handoff(), None);
    }

    #[test]
    fn a_script_with_an_end_hands_over_after_its_last_turn() {
        let mut call = greeted(Config {
            max_turns: Some(2),
            ..Config::default()
        });
        call.speaks(0x11, ms(1000));
        assert_eq!(call.handoff(), None);
        call.marks(2, true);
        call.played();
        call.speaks(0x11, ms(1500));
        assert!(call.played().ends_with(Prompt::ToAPerson.ulaw()));
        let request = call.handoff().unwrap();
        assert_eq!(
            request.summary.as_deref(),
            Some(
                "The caller talked to the scripted agent. Turns: 2, 2.5 s of speech. Handed over because: the script is at its end."
            )
        );
    }

    #[test]
    fn after_a_failed_handoff_it_says_so_and_talks_on() {
        let mut call = greeted(Config::default());
        call.presses('0');
        call.events();
        for state in ["requested", "committed", "trying", "failed", "resumed"] {
            call.told(state);
        }
        assert_eq!(call.words(), [Prompt::TransferFailed.text()]);
        call.advance(ms(2000));
        assert_eq!(call.words(), [""; 0]);
        call.marks(3, true);
        call.speaks(0x11, ms(1000));
        assert!(call.words().contains(&Prompt::WhatElse.text().to_owned()));
    }

    #[test]
    fn it_keeps_still_while_another_style_is_tried() {
        let mut call = greeted(Config::default());
        call.presses('0');
        call.events();
        call.told("requested");
        call.told("failed");
        call.advance(ms(500));
        call.told("trying");
        call.advance(ms(20_000));
        call.command(Command::SpeechStarted { at: ms(1) });
        call.command(Command::SpeechStopped { at: ms(4000) });
        assert_eq!(call.events(), []);
        call.told("failed");
        call.advance(SORRY_AFTER);
        assert_eq!(call.words(), [Prompt::TransferFailed.text()]);
    }

    #[test]
    fn a_handoff_that_is_never_taken_up_is_not_silence() {
        let mut call = greeted(Config::default());
        call.presses('0');
        call.events();
        call.advance(Prompt::ToAPerson.duration() + UNHEARD_AFTER);
        assert_eq!(call.words(), [Prompt::TransferFailed.text()]);
        call.marks(3, true);
        call.presses('0');
        call.events();
        call.command(Command::Error {
            message: "no target".into(),
        });
        call.advance(SORRY_AFTER);
        assert_eq!(call.words(), [Prompt::TransferFailed.text()]);
    }

    #[test]
    fn a_handoff_asked_for_by_somebody_else_silences_it() {
        let mut call = Ladder::new(Scripted::new(Config::default()));
        call.command(start());
        call.events();
        call.told("requested");
        assert_eq!(call.events(), [Event::Clear]);
        call.advance(ms(60_000));
        assert_eq!(call.events(), []);
    }

    #[test]
    fn nobody_is_asked_while_on_hold() {
        let mut call = greeted(Config::default());
        call.events();
        call.command(Command::Hold);
        call.advance(ms(60_000));
        assert_eq!(call.events(), []);
        call.command(Command::Resume);
        call.advance(ms(6000));
        assert_eq!(call.words(), [Prompt::StillThere.text()]);
    }

    #[test]
    fn a_mark_that_never_comes_does_not_silence_it() {
        let mut call = Ladder::new(Scripted::new(Config::default()));
        call.command(start());
        call.events();
        call.advance(Prompt::Greeting.duration() + MARK_GRACE + ms(6000));
        assert_eq!(call.words(), [Prompt::StillThere.text()]);
    }

    #[test]
    fn it_says_nothing_after_stop() {
        let mut call = greeted(Config::default());
        call.events();
        call.command(Command::Stop {
            reason: "bye".into(),
        });
        call.presses('0');
        call.told("resumed");
        call.marks(1, true);
        call.advance(ms(60_000));
        assert_eq!(call.events(), []);
        assert_eq!(call.dialect.poll_timeout(), None);
    }

    #[test]
    fn clocks_that_run_backwards_harm_nothing() {
        let mut call = greeted(Config::default());
        call.command(Command::SpeechStarted { at: ms(90_000) });
        call.listens(0x11, ms(100));
        call.command(Command::SpeechStopped { at: ms(5) });
        call.command(Command::SpeechStarted { at: ms(0) });
        call.command(Command::SpeechStopped { at: Duration::MAX });
        assert_eq!(call.handoff(), None);
    }
}
