#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the terminal and the clock of one command"
)]
//! `baton call URI`: the softphone on the command line.
//!
//! Exit codes: 0 as asked, 2 usage, 3 rejected, 4 no answer, 5 media lost, 6 transfer failed; 1 when this machine
//! itself stands in the way.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_core::sdp::Codec;
use baton_core::sip::auth::Account;
use baton_core::sip::locate::LocateError;
use baton_core::vocab::Entropy;
use clap::Args;

use super::ladder_view::LadderView;
use super::load;
use crate::net::dns::{self, Dns};
use crate::softphone::audio_file::{self, AudioFileError};
use crate::softphone::script::duration;
use crate::softphone::{
    CallPlan, CallReport, Keep, OnRefer, Outcome, Phone, PhoneConfig, PhoneError, Timed,
};

/// How long each call of a load test lasts when nothing is said.
const LOAD_DURATION: Duration = Duration::from_secs(30);

/// Place a call with the built-in softphone, or many of them as a load test.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// Whom to call: sip:user@host, sip:user@host:port, with ;transport=tcp or tls, or sips:
    pub uri: String,
    /// Say this (any WAV; silence without it)
    #[arg(long, value_name = "FILE.wav")]
    pub play: Option<PathBuf>,
    /// Write what is heard (8 kHz mono WAV)
    #[arg(long, value_name = "FILE.wav", conflicts_with = "calls")]
    pub record: Option<PathBuf>,
    /// Press keys this long after the answer: 0@3s; may be repeated
    #[arg(long, value_name = "DIGITS@TIME")]
    pub dtmf: Vec<Timed>,
    /// Add a header field to the INVITE: 'X-A: b'; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<Header>,
    /// Believe the certificates that these authorities issued, too (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Ask this name server where the URI leads, not the system's; may be repeated
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = nameserver)]
    pub nameserver: Vec<SocketAddr>,
    /// Offer this codec, PCMU or PCMA; may be repeated, the first is preferred
    #[arg(long, value_parser = codec)]
    pub codec: Vec<Codec>,
    /// Our user part: who calls
    #[arg(long, value_name = "USER", default_value = "baton")]
    pub from: String,
    /// Answer challenges as this user; with --password
    #[arg(long, value_name = "NAME", requires = "password")]
    pub user: Option<String>,
    /// The password of --user; better given as the environment variable BATON_CALL_PASSWORD
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "BATON_CALL_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// Hang up this long after the answer: 30s (without it: when the far end does; in a load test 30s)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub duration: Option<Duration>,
    /// What to do with a REFER: accept, reject, ignore (202 and no NOTIFY) or silent (no answer)
    #[arg(long, value_name = "WHAT", default_value = "accept")]
    pub on_refer: OnRefer,
    /// When a REFER is accepted, ask this URL as Twilio asks a referUrl
    #[arg(long, value_name = "URL")]
    pub refer_url: Option<String>,
    /// Print the report as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Place this many calls
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub calls: Option<u32>,
    /// New calls per second
    #[arg(long, value_name = "R", requires = "calls", default_value = "10", value_parser = rate)]
    pub rate: f64,
}

/// A header field as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Not a header field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no header field; write 'X-Name: value'")]
pub struct NotAHeader(String);

impl FromStr for Header {
    type Err = NotAHeader;

    fn from_str(text: &str) -> Result<Self, NotAHeader> {
        let not_a_header = || NotAHeader(text.to_owned());
        let (name, value) = text.split_once(':').ok_or_else(not_a_header)?;
        let (name, value) = (name.trim(), value.trim());
        let speakable = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !value.chars().any(char::is_control);
        speakable
            .then(|| Self {
                name: name.to_owned(),
                value: value.to_owned(),
            })
            .ok_or_else(not_a_header)
    }
}

fn codec(text: &str) -> Result<Codec, String> {
    Codec::from_name(text).ok_or_else(|| "choose PCMU or PCMA".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "write a duration as 500ms, 30s or 2m".to_owned())
}

fn nameserver(text: &str) -> Result<SocketAddr, String> {
    dns::nameserver(text)
        .ok_or_else(|| "write its address, as 192.0.2.53 or 192.0.2.53:53".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate| (0.001..=10_000.0).contains(rate));
    rate.ok_or_else(|| "write calls per second, from 0.001 to 10000".to_owned())
}

/// Why the command did not come to a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The phone.
    #[error(transparent)]
    Phone(#[from] PhoneError),
    /// A file.
    #[error(transparent)]
    File(#[from] AudioFileError),
    /// No randomness, no JSON.
    #[error("{0}")]
    System(String),
}

impl CallError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Phone(
                PhoneError::BadUri { .. }
                | PhoneError::Locate(LocateError::NotSip(_) | LocateError::Transport(_))
                | PhoneError::Tls(_),
            )
            | Self::File(_) => 2,
            Self::Phone(PhoneError::Locate(_)) => 4,
            Self::Phone(PhoneError::Sip(_)) => 3,
            Self::Phone(_) | Self::System(_) => 1,
        }
    }
}

/// Runs the command, within a tokio runtime.
pub async fn run(args: CallArgs) -> ExitCode {
    let done = match args.calls {
        Some(calls) => many(&args, calls).await,
        None => one(&args).await,
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("baton call: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn one(args: &CallArgs) -> Result<u8, CallError> {
    let mut plan = plan(args)?;
    plan.keep = Keep {
        recording: args.record.is_some(),
        gaps: args.json,
        wire: true,
    };
    let config = PhoneConfig {
        tls_ca: args.tls_ca.clone(),
        ..towards(args).await?
    };
    let phone = Phone::bind(config)?;
    let view = LadderView::new(Instant::now(), args.json);
    view.ends("baton", &args.uri);
    let report = watch(&phone, plan, &view).await?;
    if let Some(path) = &args.record {
        audio_file::write(path, &report.recording)?;
    }
    if args.json {
        print(&json(&report)?);
    } else {
        for line in summary(&report) {
            view.line(&line);
        }
    }
    Ok(report.outcome.exit_code())
}

/// Shows the call until it ends; Ctrl-C hangs up.
async fn watch(phone: &Phone, plan: CallPlan, view: &LadderView) -> Result<CallReport, CallError> {
    let mut live = phone.start(plan).await?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut hung_up = false;
    loop {
        tokio::select! {
            event = live.next() => match event {
                Some(event) => view.show(&event),
                None => break,
            },
            _ = &mut interrupted, if !hung_up => {
                hung_up = true;
                live.hang_up().await;
            }
        }
    }
    let report = live.report().await;
    // The last lines may have come after the events were closed.
    view.finish();
    Ok(report)
}

async fn many(args: &CallArgs, calls: u32) -> Result<u8, CallError> {
    let mut plan = plan(args)?;
    plan.repeat = true;
    plan.duration.get_or_insert(LOAD_DURATION);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let config = PhoneConfig {
        media_threads: threads,
        tls_ca: args.tls_ca.clone(),
        ..towards(args).await?
    };
    let phone = Phone::bind(config)?;
    let result = load::run(&phone, &plan, calls, args.rate, args.json).await;
    if args.json {
        print(&json(&result)?);
    } else {
        eprint!("{result}");
    }
    Ok(result.exit_code())
}

/// A phone on the address that the URI is reached from.
async fn towards(args: &CallArgs) -> Result<PhoneConfig, CallError> {
    let mut entropy = entropy()?;
    let dns = Dns::new(&args.nameserver, entropy.fork());
    Ok(PhoneConfig::towards(&args.uri, dns, entropy).await?)
}

fn plan(args: &CallArgs) -> Result<CallPlan, CallError> {
    let mut plan = CallPlan {
        from_user: args.from.clone(),
        headers: (args.header.iter().cloned())
            .map(|Header { name, value }| (name, value))
            .collect(),
        account: account(args),
        script: args.dtmf.clone(),
        duration: args.duration,
        on_refer: args.on_refer,
        refer_url: args.refer_url.clone(),
        ..CallPlan::new(&args.uri)
    };
    if !args.codec.is_empty() {
        plan.codecs.clone_from(&args.codec);
    }
    if let Some(path) = &args.play {
        plan.play = Arc::from(audio_file::read(path)?);
    }
    Ok(plan)
}

fn account(args: &CallArgs) -> Option<Arc<Account>> {
    let both = args.user.as_deref().zip(args.password.as_deref());
    both.map(|(user, password)| Arc::new(Account::new(user, password)))
}

fn entropy() -> Result<Entropy, CallError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| CallError::System(error.to_string()))?;
    Ok(Entropy::from_seed(seed))
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, CallError> {
    serde_json::to_string_pretty(value).map_err(|error| CallError::System(error.to_string()))
}

/// To standard output. Whoever closed the pipe has read what they wanted.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// The report in a few lines.
fn summary(report: &CallReport) -> Vec<String> {
    let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
    let rtp = &report.rtp;
    let mut lines = vec![
        String::new(),
        match &report.outcome {
            Outcome::Completed { by_us: true, .. } => "ended by us".to_owned(),
            Outcome::Completed { reason, .. } => match reason {
                Some(reason) => format!("ended by the far end ({reason})"),
                None => "ended by the far end".to_owned(),
            },
            Outcome::Refused { status, reason } => format!("refused: {status} {reason}"),
            Outcome::NoAnswer => "no answer".to_owned(),
            Outcome::MediaLost => "media lost: no audio came".to_owned(),
            Outcome::TransferFailed { why } => format!("the transfer failed: {why}"),
            Outcome::Failed { why } => format!("failed: {why}"),
        },
    ];
    if report.setup_ms.is_some() {
        lines.push(format!(
            "answered after {}, talked {}, first voice after {}",
            ms(report.setup_ms),
            ms(report.talk_ms),
            ms(rtp.first_voice_ms),
        ));
        lines.push(format!(
            "{}: sent {}, received {}, lost {}, jitter {:.1} ms, longest gap {}",
            rtp.codec.unwrap_or("no codec"),
            rtp.sent,
            rtp.received,
            rtp.lost,
            rtp.jitter_ms,
            rtp.worst_gap,
        ));
    }
    if let Some(refer) = &report.refer {
        lines.push(format!("transferred to {}", refer.refer_to));
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: CallArgs,
    }

    fn parse(line: &str) -> Result<CallArgs, String> {
        let words = std::iter::once("call").chain(line.split(' '));
        Cli::try_parse_from(words)
            .map(|cli| cli.args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_flag_of_the_manual_is_taken() {
        let args = parse(
            "sip:bot@127.0.0.1 --dtmf 0@3s --dtmf 12#@500ms --header X-A:b --codec pcma --duration 30s \
             --on-refer ignore --refer-url http://127.0.0.1/x --json --from +1555",
        )
        .unwrap();
        let plan = plan(&args).unwrap();
        assert_eq!(plan.script.len(), 2);
        assert_eq!(plan.headers, [("X-A".to_owned(), "b".to_owned())]);
        assert_eq!(plan.codecs, [Codec::Pcma]);
        assert_eq!(plan.duration, Some(Duration::from_secs(30)));
        assert_eq!((plan.on_refer, args.json), (OnRefer::Ignore, true));
        assert_eq!(plan.from_user, "+1555");
        let args = parse("sip:bot@127.0.0.1 --calls 500 --rate 20.5").unwrap();
        assert_eq!((args.calls, args.rate), (Some(500), 20.5));
    }

    #[test]
    fn wrong_flags_are_refused_with_what_to_write() {
        for (line, says) in [
            ("sip:a@b --dtmf x@3s", "0@3s"),
            ("sip:a@b --header nonsense", "X-Name: value"),
            ("sip:a@b --codec G729", "PCMU or PCMA"),
            ("sip:a@b --duration soon", "30s"),
            ("sip:a@b --on-refer maybe", "silent"),
            ("sip:a@b --rate 5 --calls 0", "0 is not in"),
            ("sip:a@b --rate -1 --calls 5", "error"),
            ("sip:a@b --calls 5 --record x.wav", "cannot be used with"),
            ("sip:a@b --srtp", "unexpected argument"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn a_header_that_would_become_two_is_no_header() {
        for text in ["X-A: b\r\nX-B: c", ": b", "X A: b", "X-A"] {
            assert!(text.parse::<Header>().is_err(), "{text:?}");
        }
        let header: Header = "X-A: b: c".parse().unwrap();
        assert_eq!(
            (header.name.as_str(), header.value.as_str()),
            ("X-A", "b: c")
        );
    }

    #[tokio::test]
    async fn what_cannot_be_placed_has_the_exit_code_of_its_fault() {
        let code = async |line: &str| {
            let args = parse(line).unwrap();
            one(&args).await.unwrap_err().exit_code()
        };
        assert_eq!(code("bot").await, 2);
        assert_eq!(code("sip:bot@127.0.0.1;transport=sctp").await, 2);
        assert_eq!(code("sips:bot@127.0.0.1;transport=udp").await, 2);
        assert_eq!(code("sip:bot@127.0.0.1 --play /no/such/file.wav").await, 2);
        assert_eq!(code("sip:bot@no-such-host.invalid").await, 4);
    }
}
