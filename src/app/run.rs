//! The life of a node after its start: signals, reload, drain, exit.

use std::time::Duration;

use baton_core::admission::Lifecycle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::Node;
use crate::config::ConfigFile;

/// How long the end of a node waits for what is still being written and said.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The same for who is in a hurry: a BYE has left by then, and a disk that is well has written.
const HASTY_WORDS: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT, then drains: new calls get 503, running ones may end by themselves until
/// `drain_timeout`, and are handed over then, or hear a goodbye. A second signal hangs all of them up at once; a third
/// does not even wait for their histories. SIGHUP reads the configuration again.
///
/// * returns whether every call ended, with its history written.
pub async fn until_stopped(node: Node, config: &ConfigFile, mut signals: Signals) -> bool {
    loop {
        match signals.next().await {
            Told::Stop => break,
            Told::Reload => reload(&node, config).await,
        }
    }
    info!(
        "draining: new calls get 503, {} calls may finish",
        node.live_calls()
    );
    node.tell_to_stop().await;
    let mut last_words = LAST_WORDS;
    loop {
        tokio::select! {
            stage = node.next_stage() => match stage {
                Lifecycle::Stopped => break,
                Lifecycle::Ready | Lifecycle::Draining { .. } | Lifecycle::Ending { .. } => warn!(
                    "{} calls outlived drain_timeout: each is handed over, or told goodbye",
                    node.live_calls()
                ),
            },
            () = signals.stop() => {
                warn!("told twice: ending {} calls at once", node.live_calls());
                last_words = HASTY_WORDS;
                node.tell_to_stop().await;
            }
        }
    }
    tokio::select! {
        in_order = node.stop(last_words) => in_order,
        () = signals.stop() => {
            warn!("told again while stopping: leaving as it is");
            false
        }
    }
}

/// A bad file is refused and the running configuration kept.
async fn reload(node: &Node, config: &ConfigFile) {
    let taken = match config.load() {
        Ok(new) => node.reload(new).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    match taken {
        Ok(()) => {
            info!(
                "configuration read again: routes, agents, handoffs and trunks are as the file says now"
            );
        }
        Err(error) => warn!("configuration not taken, the running one stays: {error:#}"),
    }
}

enum Told {
    Stop,
    Reload,
}

/// What a node is told from outside. Made before the node takes calls, so that no signal finds the default action.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from here on.
    ///
    /// # Errors
    /// The operating system gives no signal handlers.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    async fn stop(&mut self) {
        while let Told::Reload = self.next().await {}
    }
}
