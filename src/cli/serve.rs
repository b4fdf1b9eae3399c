//! `baton serve`: runs the bridge until it is told to stop.

use std::process::ExitCode;

use super::ConfigFile;
use crate::app;
use crate::observe::trace;

/// Arguments of `baton serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

/// Runs the bridge. The first SIGTERM or SIGINT drains it, the second ends it at once. Exit code 1 when a call did not
/// end in order.
///
/// # Errors
/// The configuration cannot be read, or something it names cannot be opened.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    trace::init(if args.log_json {
        trace::Format::Json
    } else {
        trace::Format::Text
    })?;
    trace::log_panics();
    let config = args.config.load()?;
    let signals = app::run::Signals::new()?;
    let node = app::Node::start(&config).await?;
    println!("{}", banner(&node, &args.config.name()));
    let in_order = app::run::until_stopped(node, &args.config, signals).await;
    Ok(if in_order {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What people look at first: where it listens, and where to look next.
fn banner(node: &app::Node, config: &str) -> String {
    let mut lines = vec![format!(
        "baton {} takes calls ({config})",
        env!("CARGO_PKG_VERSION")
    )];
    lines.extend(
        node.sip()
            .iter()
            .map(|listening| format!("  sip      {listening}")),
    );
    lines.push(format!("  http     http://{}/", node.http()));
    lines.push(format!("  agent    {}", node.describe_agent()));
    lines.push(format!("  handoff  {}", node.describe_handoff()));
    lines.push(format!("  store    {}", node.describe_store()));
    lines.join("\n")
}
