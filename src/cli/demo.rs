#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the demo's clock and terminal"
)]
//! `baton demo`: the main job on this machine, on real sockets and with real speech, every step checked.
//!
//! ```text
//!  softphone (caller and trunk) ──SIP, RTP──► bridge ──► scripted agent
//!        │◄──── REFER with the key ────────────┘
//!        ├──── 202, NOTIFY ───────────────────►│
//!        └──── referUrl webhook ──HTTP────────►│ redirect with the same key
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use baton_core::agent::prompts::Prompt;
use baton_core::handoff::read_key;
use baton_core::history::{EndKind, HandoffState, Session};
use baton_core::media::g711::{self, Codec};
use baton_core::media::wav;
use baton_core::sip::endpoint::Transport;
use baton_core::sip::message::NameAddr;
use baton_core::vocab::Entropy;
use console::style;

use super::ladder_view::LadderView;
use super::session_view;
use crate::app::Node;
use crate::bridge::registry::Change;
use crate::config::{self, Config};
use crate::net::listen::Listening;
use crate::softphone::{
    Action, CallPlan, CallReport, Keep, OnRefer, Phone, PhoneConfig, Timed, audio_file,
};

/// Arguments of `baton demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the bridge running with its console until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Where the WAV files and the history go
    #[arg(long, value_name = "DIR", default_value = "demo")]
    dir: PathBuf,
}

/// "Hello. I would like to change the delivery address of my order."
const CALLER: &[u8] = include_bytes!("../../assets/demo/caller.ulaw");
/// Where the redirect sends the call: nobody asks this host, its URL is only written into TwiML.
const STUDIO: &str = "https://webhooks.example.com/v1/Accounts/AC0/Flows/FW0";
const HUMANS: &str = "sip:queue@flex.example.com";
const KEY_HEADER: &str = "X-Session-History-Key";
/// What a run keeps for itself within the folder; the next run removes it, so the name must be nobody else's.
const OURS: &str = ".baton-demo";
/// How long the end of the bridge may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The caller thinks this long before answering.
const THINKING: Duration = Duration::from_millis(700);
/// From the end of the caller's words to the agent's: hangover, "I heard:", and being asked what else.
const AGENT_TURN: Duration = Duration::from_millis(4_800);

/// Runs it; exit 0 only if every step was seen.
///
/// # Errors
/// The machine stands in the way: no port, no disk.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let data = args.dir.join(OURS);
    prepare(&args.dir, &data).with_context(|| format!("preparing {}", args.dir.display()))?;
    let node = Node::start(&configuration(&data)).await?;
    let first = node.sip().first().context("the bridge listens nowhere")?;
    let sip = first.address;
    println!("\n{}", style("baton demo").bold());
    println!("  bridge   {first}, console http://{}/", node.http());
    println!("  caller   \"Hello. I would like to change the delivery address of my order.\"\n");

    let report = call(&node, sip).await?;
    let history = read_history(&node, &report).await;
    let files = leave_wavs(&args.dir, &data, &report).await;
    let steps = steps(&report, history.as_ref().ok(), &files);
    print_steps(&steps);
    match &history {
        Ok(found) => print!("{}", session_view::render(&found.session)),
        Err(error) => println!("  {} {error:#}", style("no history:").red()),
    }
    print_files(&files);

    let all_seen = steps.iter().all(|step| step.seen);
    if args.keep && all_seen {
        keep(&node, history.ok()).await;
    }
    node.stop(LAST_WORDS).await;
    let missing = steps.iter().find(|step| !step.seen);
    if let Some(step) = missing {
        eprintln!(
            "baton demo: step not seen: {}: {}",
            step.name, step.evidence
        );
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "{}",
        style("  every step was seen on the wire").green().bold()
    );
    Ok(ExitCode::SUCCESS)
}

/// An empty folder for this run; what an earlier run left is removed.
fn prepare(dir: &Path, data: &Path) -> std::io::Result<()> {
    if data.exists() {
        std::fs::remove_dir_all(data)?;
    }
    std::fs::create_dir_all(dir)
}

fn configuration(data: &Path) -> Config {
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::default();
    config.sip.listen = vec![config::Listen(Listening {
        transport: Transport::Udp,
        address: loopback,
    })];
    config.media.rtp_ports = config::PortRange { first: 0, last: 0 };
    config.media.recording = config::Recording::On;
    config.media.recording_dir = data.join("recordings");
    config.handoffs = vec![config::Handoff {
        name: "human".into(),
        target: Some(HUMANS.into()),
        ..config::Handoff::default()
    }];
    config.http.listen = loopback;
    config.twilio.studio_webhook_url = Some(STUDIO.into());
    config.store.url = config::StoreUrl::Embedded(data.join("store"));
    config
}

/// Places the call and shows it as it happens.
async fn call(node: &Node, sip: std::net::SocketAddr) -> anyhow::Result<CallReport> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let phone = Phone::bind(PhoneConfig::loopback(Entropy::from_seed(seed)))?;
    let mut changes = node.registry().watch();
    let view = LadderView::on_stdout(Instant::now());
    view.ends("caller and trunk", "baton");
    let mut live = phone.start(plan(sip, &node.http().to_string())).await?;
    loop {
        tokio::select! {
            event = live.next() => match event {
                Some(event) => view.show(&event),
                None => break,
            },
            Ok(Change::Handoff { handoff, .. }) = changes.recv() => {
                if let "requested" | "committed" | "transferred" = handoff.state.as_str() {
                    view.line(&format!("{:9}  · baton: handoff {}", "", handoff.state));
                }
            }
        }
    }
    view.finish();
    Ok(live.report().await)
}

fn plan(sip: std::net::SocketAddr, http: &str) -> CallPlan {
    let words = decode(CALLER);
    let before = Prompt::Greeting.duration() + THINKING;
    let spoken = Duration::from_millis(words.len() as u64 / 8);
    let press_at = before + spoken + AGENT_TURN + spoken;
    let mut play = vec![0; usize::try_from(before.as_millis()).unwrap_or(0) * 8];
    play.extend(words);
    CallPlan {
        from_user: "+15559870042".into(),
        play: Arc::from(play),
        keep: Keep::ALL,
        script: vec![Timed {
            at: press_at,
            action: Action::Press("0".into()),
        }],
        duration: Some(Duration::from_mins(1)),
        on_refer: OnRefer::Accept,
        refer_url: Some(format!("http://{http}/twilio/refer-handler")),
        ..CallPlan::new(format!("sip:+15551230000@{sip}"))
    }
}

fn decode(ulaw: &[u8]) -> Vec<i16> {
    ulaw.iter()
        .map(|octet| g711::decode(Codec::Pcmu, *octet))
        .collect()
}

/// The history, fetched as the human's browser fetches it.
struct History {
    key: String,
    session: Session,
    page: String,
}

async fn read_history(node: &Node, report: &CallReport) -> anyhow::Result<History> {
    let key = key_of(report).context("the REFER carried no key")?;
    let base = format!("http://{}", node.http());
    let client = crate::net::tls::http_client(Duration::from_secs(5))?;
    let wait_until = Instant::now() + Duration::from_secs(5);
    loop {
        let response = client
            .get(format!("{base}/v1/sessions/{key}"))
            .send()
            .await?;
        let session: Session = response.error_for_status()?.json().await?;
        // The call's last events are written after its BYE.
        if session.end.is_some() || Instant::now() >= wait_until {
            let page = format!("{base}/sessions/{key}");
            client.get(&page).send().await?.error_for_status()?;
            return Ok(History { key, session, page });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The key as the refer-handler reads it from the Refer-To.
fn key_of(report: &CallReport) -> Option<String> {
    read_key(&report.refer.as_ref()?.refer_to, KEY_HEADER)
}

/// A file that was left for people, or why not.
struct WavFile {
    what: &'static str,
    path: PathBuf,
    result: Result<Duration, String>,
}

async fn leave_wavs(dir: &Path, data: &Path, report: &CallReport) -> Vec<WavFile> {
    let heard = dir.join("caller-heard.wav");
    let written = audio_file::write(&heard, &report.recording).map_err(|error| error.to_string());
    let length = Duration::from_millis(report.recording.len() as u64 / 8);
    let both = dir.join("both-sides.wav");
    let copied = copy_recording(&data.join("recordings"), &both).await;
    vec![
        WavFile {
            what: "what the caller heard",
            path: heard,
            result: written.map(|()| length),
        },
        WavFile {
            what: "both sides, caller left",
            path: both,
            result: copied,
        },
    ]
}

/// The recording's file is finished a moment after the call.
async fn copy_recording(from: &Path, to: &Path) -> Result<Duration, String> {
    let wait_until = Instant::now() + Duration::from_secs(3);
    loop {
        let found = std::fs::read_dir(from)
            .ok()
            .and_then(|mut files| files.next()?.ok());
        if let Some(file) = found {
            let octets = std::fs::read(file.path()).map_err(|error| error.to_string())?;
            let audio = wav::read(&octets).map_err(|error| error.to_string());
            let whole = audio
                .as_ref()
                .is_ok_and(|wav| octets.len() <= 64 + wav.samples.len() * 2);
            if whole || Instant::now() >= wait_until {
                std::fs::write(to, &octets).map_err(|error| error.to_string())?;
                return audio.map(|wav| Duration::from_millis(wav.samples.len() as u64 / 16));
            }
        } else if Instant::now() >= wait_until {
            return Err("nothing was recorded".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One thing that had to be seen.
struct Step {
    name: &'static str,
    seen: bool,
    evidence: String,
}

impl Step {
    fn new(name: &'static str, seen: bool, evidence: impl fmt::Display) -> Self {
        Self {
            name,
            seen,
            evidence: evidence.to_string(),
        }
    }
}

fn steps(report: &CallReport, history: Option<&History>, files: &[WavFile]) -> Vec<Step> {
    let mut steps = talk_steps(report);
    steps.extend(transfer_steps(report));
    steps.extend(history_steps(history));
    for file in files {
        let evidence = match &file.result {
            Ok(length) => format!("{} ({:.1} s)", file.path.display(), length.as_secs_f32()),
            Err(why) => format!("{}: {why}", file.path.display()),
        };
        let long_enough = file
            .result
            .as_ref()
            .is_ok_and(|length| *length > Duration::from_secs(5));
        steps.push(Step::new("recorded", long_enough, evidence));
    }
    steps
}

fn talk_steps(report: &CallReport) -> Vec<Step> {
    let rtp = &report.rtp;
    let answered = report
        .setup_ms
        .map_or("never".into(), |ms| format!("200 OK after {ms:.1} ms"));
    let voice = rtp.first_voice_ms.map_or("never".into(), |ms| {
        format!("first voice {ms:.0} ms after the answer")
    });
    let flow = format!(
        "{} packets, {} lost, longest gap {}",
        rtp.received, rtp.lost, rtp.worst_gap
    );
    vec![
        Step::new("answered", report.setup_ms.is_some(), answered),
        Step::new(
            "agent heard",
            rtp.first_voice_ms.is_some_and(|ms| ms < 1_000.0),
            voice,
        ),
        Step::new(
            "no dead air",
            rtp.received > 500 && rtp.worst_gap.own_ms() < 200.0,
            flow,
        ),
    ]
}

fn transfer_steps(report: &CallReport) -> Vec<Step> {
    let refer = report.refer.as_ref();
    let key = key_of(report);
    let target = refer.and_then(|refer| Some(NameAddr::parse(&refer.refer_to)?.uri.to_owned()));
    let referred = target.as_deref().is_some_and(|uri| uri.starts_with(HUMANS)) && key.is_some();
    let webhook = refer.and_then(|refer| refer.webhook.as_ref());
    let redirected = webhook.and_then(|webhook| redirected_key(&webhook.body));
    let notified = refer.map(|refer| (refer.notified.clone(), refer.notify_replies.clone()));
    let all_taken = notified.as_ref().is_some_and(|(sent, replies)| {
        sent.last() == Some(&200)
            && sent.len() == replies.len()
            && replies.iter().all(|r| *r == 200)
    });
    let said = |text: Option<&str>| text.unwrap_or("not seen").to_owned();
    let answered = refer.and_then(|refer| refer.answered);
    let bye = refer.is_some_and(|refer| refer.bye_received);
    vec![
        Step::new(
            "REFER with the key",
            referred,
            said(refer.map(|refer| refer.refer_to.as_str())),
        ),
        Step::new(
            "Referred-By",
            refer.is_some_and(|r| r.referred_by.is_some()),
            said(refer.and_then(|r| r.referred_by.as_deref())),
        ),
        Step::new(
            "accepted",
            answered == Some(202),
            answered.map_or("not answered".into(), |status| format!("with {status}")),
        ),
        Step::new(
            "redirect, same key",
            key.is_some() && redirected == key,
            redirected.map_or("no redirect".into(), |key| {
                format!("SessionHistoryKey={key}")
            }),
        ),
        Step::new(
            "NOTIFY 100, 200",
            all_taken,
            notified.map_or("none sent".into(), |(sent, replies)| {
                format!("{sent:?} answered {replies:?}")
            }),
        ),
        Step::new(
            "BYE from baton",
            bye,
            if bye {
                "after the last NOTIFY"
            } else {
                "none came"
            },
        ),
    ]
}

/// `SessionHistoryKey` of the TwiML's redirect.
fn redirected_key(twiml: &str) -> Option<String> {
    let (_, rest) = twiml.split_once("<Redirect method=\"POST\">")?;
    let (url, _) = rest.split_once("</Redirect>")?;
    let (_, key) = url.split_once("SessionHistoryKey=")?;
    (url.starts_with(STUDIO) && url.contains("FlowEvent=return"))
        .then(|| key.split('&').next().unwrap_or(key).to_owned())
}

fn history_steps(history: Option<&History>) -> Vec<Step> {
    let Some(History { key, session, page }) = history else {
        return vec![Step::new("history", false, "not served")];
    };
    let handoff = session.handoffs.last();
    let came_to = handoff.map_or("no handoff", |handoff| handoff.state.as_str());
    let end = session.end.as_ref().map(|end| end.kind);
    let states: Vec<_> = handoff
        .iter()
        .flat_map(|handoff| &handoff.steps)
        .map(|step| step.state)
        .collect();
    let first = |wanted| states.iter().position(|state| *state == wanted);
    let durable_first = first(HandoffState::Committed)
        .zip(first(HandoffState::Trying))
        .is_some_and(|(committed, trying)| committed < trying);
    let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    vec![
        Step::new(
            "history",
            session.turns.len() >= 3 && session.key.as_str() == key,
            format!(
                "{} turns under {}",
                session.turns.len(),
                session.key.as_str()
            ),
        ),
        Step::new("durable before REFER", durable_first, words.join(", ")),
        Step::new(
            "outcome known",
            came_to == HandoffState::Transferred.as_str() && end == Some(EndKind::Transferred),
            format!(
                "handoff {came_to}, call {}",
                end.map_or("not ended", |end| end.as_str())
            ),
        ),
        Step::new("the human's page", true, page),
    ]
}

fn print_steps(steps: &[Step]) {
    println!();
    for step in steps {
        let sign = if step.seen {
            style("✓").green()
        } else {
            style("✗").red().bold()
        };
        println!("  {sign} {:<21} {}", step.name, step.evidence);
    }
}

fn print_files(files: &[WavFile]) {
    println!();
    for file in files.iter().filter(|file| file.result.is_ok()) {
        println!("  listen   {} ({})", file.path.display(), file.what);
    }
    println!();
}

/// Leaves the bridge running for people who want to look around.
async fn keep(node: &Node, history: Option<History>) {
    println!("  console  http://{}/", node.http());
    if let Some(history) = history {
        println!("  history  {}", history.page);
    }
    println!("  Ctrl-C ends it");
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("baton demo: no signals here ({error}), so it ends now");
    }
}

#[cfg(test)]
mod tests {
    use baton_core::history::{EndBy, Event, HandoffStep, Kind, Role, Turn, UnixMillis};
    use baton_core::vocab::HandoffId;

    use super::*;
    use crate::softphone::Outcome;
    use crate::softphone::report::{Gap, ReferReport, RtpReport, WebhookReport};

    #[test]
    fn a_redirect_counts_only_with_its_key_and_its_flow() {
        let twiml =
            |url: &str| format!("<Response><Redirect method=\"POST\">{url}</Redirect></Response>");
        let good = twiml(&format!(
            "{STUDIO}?FlowEvent=return&amp;SessionHistoryKey=abc"
        ));
        assert_eq!(redirected_key(&good).as_deref(), Some("abc"));
        assert_eq!(
            redirected_key(&twiml(&format!("{STUDIO}?FlowEvent=return"))),
            None
        );
        assert_eq!(
            redirected_key(&twiml(
                "https://evil.example/?FlowEvent=return&SessionHistoryKey=abc"
            )),
            None
        );
        assert_eq!(redirected_key("<Response/>"), None);
    }

    type Change<'a> = &'a dyn Fn(&mut Run);

    const KEY: &str = "0123456789abcdefghijkl";

    /// What a run leaves in which every step was seen.
    struct Run {
        report: CallReport,
        history: Option<History>,
        files: Vec<WavFile>,
    }

    impl Run {
        fn good() -> Self {
            let key = KEY.parse().unwrap();
            Self {
                report: report(),
                history: Some(History {
                    key: KEY.into(),
                    session: Session::fold(key, &log()),
                    page: format!("http://127.0.0.1:8080/sessions/{KEY}"),
                }),
                files: vec![WavFile {
                    what: "what the caller heard",
                    path: "heard.wav".into(),
                    result: Ok(Duration::from_secs(20)),
                }],
            }
        }

        fn refer(&mut self) -> &mut ReferReport {
            self.report.refer.as_mut().unwrap()
        }

        fn session(&mut self) -> &mut Session {
            &mut self.history.as_mut().unwrap().session
        }

        fn missed(&self) -> Vec<(&'static str, String)> {
            steps(&self.report, self.history.as_ref(), &self.files)
                .into_iter()
                .filter(|step| !step.seen)
                .map(|step| (step.name, step.evidence))
                .collect()
        }
    }

    fn redirect(key: &str) -> WebhookReport {
        WebhookReport {
            status: Some(200),
            body: format!(
                "<Redirect method=\"POST\">{STUDIO}?FlowEvent=return&amp;SessionHistoryKey={key}</Redirect>"
            ),
            error: None,
        }
    }

    fn gap(gap_ms: f64, standstill_ms: f64) -> Gap {
        Gap {
            gap_ms,
            standstill_ms,
        }
    }

    fn report() -> CallReport {
        CallReport {
            call_id: "a@b".into(),
            outcome: Outcome::Completed {
                by_us: false,
                reason: None,
            },
            setup_ms: Some(3.0),
            ringing_ms: None,
            talk_ms: Some(20_000.0),
            answer_headers: Vec::new(),
            rtp: RtpReport {
                received: 1_000,
                first_voice_ms: Some(40.0),
                worst_gap: gap(407.0, 350.0),
                ..RtpReport::default()
            },
            refer: Some(ReferReport {
                refer_to: format!("<{HUMANS}?{KEY_HEADER}={KEY}>"),
                referred_by: Some("<sip:+15551230000@127.0.0.1>".into()),
                answered: Some(202),
                webhook: Some(redirect(KEY)),
                notified: vec![100, 200],
                notify_replies: vec![200, 200],
                bye_received: true,
                ..ReferReport::default()
            }),
            recording: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn log() -> Vec<Event> {
        let turn = |role| {
            Kind::Turn(Turn {
                role,
                text: "words".into(),
                from_ms: None,
                to_ms: None,
                heard_ms: None,
            })
        };
        let step = |state| {
            Kind::Handoff(Box::new(HandoffStep {
                id: HandoffId::from("h-1"),
                state,
                style: "refer".into(),
                target: HUMANS.into(),
                sip_status: None,
                reason: None,
                sipfrag: None,
                summary: None,
                failure: None,
            }))
        };
        let kinds = [
            turn(Role::Agent),
            turn(Role::Caller),
            turn(Role::Agent),
            step(HandoffState::Requested),
            step(HandoffState::Committed),
            step(HandoffState::Trying),
            step(HandoffState::Transferred),
            Kind::Ended {
                kind: EndKind::Transferred,
                by: EndBy::Bridge,
                reason: String::new(),
            },
        ];
        let at = UnixMillis(1_700_000_000_000);
        kinds.into_iter().map(|kind| Event::new(at, kind)).collect()
    }

    #[test]
    fn a_good_run_misses_no_step() {
        assert_eq!(Run::good().missed(), []);
    }

    #[test]
    fn each_thing_that_is_missing_misses_exactly_its_step() {
        let forget = |run: &mut Run, state| {
            let handoff = run.session().handoffs.last_mut().unwrap();
            handoff.steps.retain(|step| step.state != state);
        };
        let table: [(&str, &str, Change<'_>); 19] = [
            ("answered", "never", &|run| run.report.setup_ms = None),
            ("agent heard", "never", &|run| {
                run.report.rtp.first_voice_ms = None;
            }),
            ("no dead air", "500 ms", &|run| {
                run.report.rtp.worst_gap = gap(500.0, 0.0);
            }),
            ("no dead air", "stood still 300 ms", &|run| {
                run.report.rtp.worst_gap = gap(500.0, 300.0);
            }),
            ("Referred-By", "not seen", &|run| {
                run.refer().referred_by = None;
            }),
            ("accepted", "not answered", &|run| {
                run.refer().answered = None;
            }),
            ("accepted", "with 603", &|run| {
                run.refer().answered = Some(603);
            }),
            ("redirect, same key", "no redirect", &|run| {
                run.refer().webhook = None;
            }),
            ("redirect, same key", "=other", &|run| {
                run.refer().webhook = Some(redirect("other"));
            }),
            ("NOTIFY 100, 200", "[100] answered [200]", &|run| {
                run.refer().notified.pop();
                run.refer().notify_replies.pop();
            }),
            ("NOTIFY 100, 200", "[200, 481]", &|run| {
                run.refer().notify_replies[1] = 481;
            }),
            ("NOTIFY 100, 200", "answered [200]", &|run| {
                run.refer().notify_replies.pop();
            }),
            ("BYE from baton", "none came", &|run| {
                run.refer().bye_received = false;
            }),
            ("history", "0 turns", &|run| run.session().turns.clear()),
            (
                "durable before REFER",
                "requested, trying, transferred",
                &|run| {
                    forget(run, HandoffState::Committed);
                },
            ),
            ("durable before REFER", "trying, committed", &|run| {
                run.session().handoffs[0].steps.swap(1, 2);
            }),
            ("outcome known", "handoff unconfirmed", &|run| {
                run.session().handoffs[0].state = HandoffState::Unconfirmed;
            }),
            ("outcome known", "not ended", &|run| {
                run.session().end = None;
            }),
            ("recorded", "disk full", &|run| {
                run.files[0].result = Err("disk full".into());
            }),
        ];
        for (name, evidence, change) in table {
            let mut run = Run::good();
            change(&mut run);
            let missed = run.missed();
            assert_eq!(missed.len(), 1, "{name}: {missed:?}");
            assert_eq!(missed[0].0, name);
            assert!(missed[0].1.contains(evidence), "{name}: {missed:?}");
        }
    }

    #[test]
    fn without_a_refer_nothing_of_the_transfer_is_claimed() {
        let mut run = Run::good();
        run.report.refer = None;
        let evidence: Vec<_> = run.missed().into_iter().map(|(_, what)| what).collect();
        assert_eq!(
            evidence,
            [
                "not seen",
                "not seen",
                "not answered",
                "no redirect",
                "none sent",
                "none came"
            ]
        );
    }

    #[test]
    fn a_call_that_never_happened_misses_every_step() {
        let steps = history_steps(None);
        assert!(steps.iter().all(|step| !step.seen));
    }

    #[test]
    fn only_what_an_earlier_run_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["data", OURS] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join("file"), "x").unwrap();
        }
        prepare(dir.path(), &dir.path().join(OURS)).unwrap();
        assert!(dir.path().join("data/file").exists());
        assert!(!dir.path().join(OURS).exists());
    }

    #[tokio::test]
    async fn a_recording_that_is_not_there_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let missing = copy_recording(&dir.path().join("none"), &dir.path().join("out.wav")).await;
        assert_eq!(missing, Err("nothing was recorded".into()));
    }
}
