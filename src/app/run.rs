//! The life of a node after its start: signals, reload, drain, exit.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::Node;
use crate::config::ConfigFile;

/// Serves until SIGTERM or SIGINT, then drains: new calls get 503, running ones may end by themselves until
/// `drain_timeout`. A second signal ends the process at once. SIGHUP reads the configuration again.
pub async fn until_stopped(node: Node, config: &ConfigFile, mut signals: Signals) {
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
    tokio::select! {
        () = node.drain() => {}
        () = signals.stop() => {
            warn!("told twice: ending {} calls at once", node.live_calls());
        }
    }
    node.stop().await;
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
