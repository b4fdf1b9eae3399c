//! The way from an operator (API, console, webhook) to a call's task.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use baton_core::agent::HandoffRequest;
use baton_core::vocab::{CallId, HandoffId, HandoffKey};

/// A call that does not answer its operator within this is told on: its task hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where a call's answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What an operator wants of a call.
#[derive(Debug)]
pub enum Operator {
    /// Hand the caller to a human, as if the agent had asked.
    Handoff {
        /// Where, how, why.
        request: HandoffRequest,
        /// The attempt's id, once the call took it on.
        reply: Reply<HandoffId>,
    },
    /// End the call.
    Hangup {
        /// For the history.
        reason: Option<String>,
        /// Once it is being done.
        reply: Reply<()>,
    },
    /// Send digits to the caller's side.
    Dtmf {
        /// `0-9 * # A-D`.
        digits: String,
        /// Each; `None`: the default.
        duration: Option<Duration>,
        /// Between two; `None`: the default.
        gap: Option<Duration>,
        /// Once they are queued.
        reply: Reply<()>,
    },
    /// The refer-handler was asked for this session's key: proof that the transfer target is being called.
    KeyRead {
        /// Which.
        key: HandoffKey,
    },
}

/// The call heard the wish and says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(
    /// Why, for people.
    pub String,
);

/// A wish did not reach a call, or was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// Its task is gone.
    #[error("the call is over")]
    Over,
    /// Its queue is full.
    #[error("the call has too many commands waiting")]
    Busy,
    /// It did not answer within five seconds.
    #[error("the call does not answer")]
    NoAnswer,
    /// It said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The way to one live call.
#[derive(Debug, Clone)]
pub struct CallHandle {
    id: CallId,
    operator: mpsc::Sender<Operator>,
}

impl CallHandle {
    pub(super) fn new(id: CallId, operator: mpsc::Sender<Operator>) -> Self {
        Self { id, operator }
    }

    /// Which call.
    pub fn id(&self) -> &CallId {
        &self.id
    }

    /// Asks for a handoff; answers once the call took it on, not when it is through.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn handoff(&self, request: HandoffRequest) -> Result<HandoffId, OperatorError> {
        self.ask(|reply| Operator::Handoff { request, reply }).await
    }

    /// Ends the call.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn hangup(&self, reason: Option<String>) -> Result<(), OperatorError> {
        self.ask(|reply| Operator::Hangup { reason, reply }).await
    }

    /// Sends digits to the caller's side.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn dtmf(
        &self,
        digits: String,
        duration: Option<Duration>,
        gap: Option<Duration>,
    ) -> Result<(), OperatorError> {
        self.ask(|reply| Operator::Dtmf {
            digits,
            duration,
            gap,
            reply,
        })
        .await
    }

    /// Tells the call that its key was read. Not waited for: the webhook's answer may not be late.
    ///
    /// # Errors
    /// [`OperatorError::Over`] or [`OperatorError::Busy`].
    pub fn key_read(&self, key: HandoffKey) -> Result<(), OperatorError> {
        self.send(Operator::KeyRead { key })
    }

    async fn ask<T>(&self, wish: impl FnOnce(Reply<T>) -> Operator) -> Result<T, OperatorError> {
        let (reply, answer) = oneshot::channel();
        self.send(wish(reply))?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) => Err(OperatorError::Over),
            Err(_) => Err(OperatorError::NoAnswer),
        }
    }

    fn send(&self, wish: Operator) -> Result<(), OperatorError> {
        self.operator.try_send(wish).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => OperatorError::Busy,
            mpsc::error::TrySendError::Closed(_) => OperatorError::Over,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(queue: usize) -> (CallHandle, mpsc::Receiver<Operator>) {
        let (operator, commands) = mpsc::channel(queue);
        (CallHandle::new(CallId::from("call-1"), operator), commands)
    }

    #[tokio::test]
    async fn a_call_answers_its_operator() {
        let (handle, mut commands) = call(4);
        let asked = tokio::join!(handle.handoff(HandoffRequest::default()), async {
            match commands.recv().await {
                Some(Operator::Handoff { reply, .. }) => {
                    reply.send(Ok(HandoffId::from("ho-1"))).unwrap();
                }
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(asked.0, Ok(HandoffId::from("ho-1")));
    }

    #[tokio::test]
    async fn a_refusal_carries_its_reason() {
        let (handle, mut commands) = call(4);
        let asked = tokio::join!(handle.hangup(None), async {
            match commands.recv().await {
                Some(Operator::Hangup { reply, .. }) => {
                    reply.send(Err(Refusal("not answered yet".into()))).unwrap();
                }
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(asked.0.unwrap_err().to_string(), "not answered yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_cannot_hold_its_operator() {
        let (handle, _commands) = call(4);
        let asked = handle.dtmf("1".into(), None, None).await;
        assert_eq!(asked, Err(OperatorError::NoAnswer));
    }

    #[tokio::test]
    async fn a_full_queue_and_a_dead_call_are_told_apart() {
        let (handle, commands) = call(1);
        let key = "0123456789012345678901".parse().unwrap();
        assert_eq!(handle.key_read(key), Ok(()));
        assert_eq!(handle.key_read(key), Err(OperatorError::Busy));
        drop(commands);
        assert_eq!(handle.key_read(key), Err(OperatorError::Over));
        assert_eq!(handle.hangup(None).await, Err(OperatorError::Over));
    }
}
