//! The command line: one file per command, each returning the exit code it promises.

pub mod call;
pub mod check;
mod check_dns;
mod check_tls;
pub mod demo;
pub mod health;
pub mod history;
pub mod ladder_view;
pub mod load;
pub mod serve;
pub mod session_view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigFile;

/// A SIP/RTP voice bridge that hands the caller over with the whole conversation.
#[derive(Debug, Parser)]
#[command(name = "baton", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge
    Serve(serve::Args),
    /// The main job on this machine, nothing to configure: call, talk, hand off, history
    Demo(demo::Args),
    /// Place a call: a softphone, and a load generator
    Call(Box<call::CallArgs>),
    /// Validate the configuration and its surroundings
    Check(check::Args),
    /// Print one session history
    History(history::Args),
    /// Exit 0 when the node takes calls: the container's health check
    Health(health::Args),
}

impl Cli {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// What the command could not do, for people; the exit code is 1 then.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Demo(args) => Box::pin(demo::run(args)).await,
            Command::Call(args) => Ok(call::run(*args).await),
            Command::Check(args) => check::run(&args).await,
            Command::History(args) => history::run(args).await,
            Command::Health(args) => health::run(&args).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_reads_the_configuration_takes_it_from_dash_c() {
        for command in ["serve", "check", "history KEY", "health"] {
            let line = format!("baton {command} -c there.toml");
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }
}
