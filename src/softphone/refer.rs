#![expect(
    clippy::disallowed_methods,
    reason = "shell: notes when a transfer succeeded"
)]
//! The trunk's part of a transfer: how REFER is answered, what Twilio asks a referUrl, and what it makes of the answer.

use std::time::{Duration, Instant};

use baton_core::sip::endpoint::{Command, NotifyState};
use baton_core::vocab::Entropy;

use super::call::{Call, Phase};
use super::plan::OnRefer;
use super::report::{PhoneEvent, ReferReport, WebhookReport};

/// Twilio waits 15 s for a webhook.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// The most of an answer that is kept.
const MAX_BODY: usize = 64 << 10;

impl Call {
    pub(super) async fn referred(&mut self, report: ReferReport) {
        if !self.webhook.is_empty() || self.bye_due.is_some() {
            self.say(Command::AnswerRefer { status: 491 }).await;
            return;
        }
        self.tell(PhoneEvent::Referred(report.refer_to.clone()));
        let refer_to = report.refer_to.clone();
        self.report.refer = Some(report);
        match self.plan.on_refer {
            OnRefer::Silent => {}
            OnRefer::Reject => self.answer_refer(603).await,
            OnRefer::Ignore => self.answer_refer(202).await,
            OnRefer::Accept => {
                self.answer_refer(202).await;
                self.notify(100, NotifyState::Active).await;
                match self.plan.refer_url.clone() {
                    Some(url) => {
                        self.webhook
                            .spawn(ask(url, self.identity.clone(), refer_to));
                    }
                    None => self.transferred().await,
                }
            }
        }
    }

    pub(super) async fn handle_webhook(&mut self, report: WebhookReport) {
        let success = report.is_success();
        self.tell(PhoneEvent::Webhook(report.clone()));
        if let Some(refer) = &mut self.report.refer {
            refer.webhook = Some(report);
        }
        let Phase::Talking { .. } = self.phase else {
            return;
        };
        if success {
            self.transferred().await;
        } else {
            self.notify(503, NotifyState::Terminated).await;
        }
    }

    async fn transferred(&mut self) {
        self.notify(200, NotifyState::Terminated).await;
        self.bye_due = Some(Instant::now() + self.plan.bye_timeout);
    }

    async fn answer_refer(&mut self, status: u16) {
        if self.say(Command::AnswerRefer { status }).await
            && let Some(refer) = &mut self.report.refer
        {
            refer.answered = Some(status);
        }
    }

    async fn notify(&mut self, status: u16, state: NotifyState) {
        if self.say(Command::Notify { status, state }).await {
            self.tell(PhoneEvent::Notified(status));
            if let Some(refer) = &mut self.report.refer {
                refer.notified.push(status);
            }
        }
    }
}

/// The call as Twilio names it in a webhook.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) call_sid: String,
    pub(super) account_sid: String,
    pub(super) from: String,
    pub(super) to: String,
}

impl Identity {
    /// Fresh identifiers of Twilio's shape.
    pub(super) fn generate(entropy: &mut Entropy, from: &str, to: &str) -> Self {
        Self {
            call_sid: format!("CA{}", entropy.hex(16)),
            account_sid: format!("AC{}", entropy.hex(16)),
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    /// What the INVITE of such a call carries.
    pub(super) fn headers(&self) -> [(String, String); 2] {
        [
            ("X-Twilio-CallSid".to_owned(), self.call_sid.clone()),
            ("X-Twilio-AccountSid".to_owned(), self.account_sid.clone()),
        ]
    }

    fn form<'a>(&'a self, refer_to: &'a str) -> [(&'static str, &'a str); 10] {
        [
            ("AccountSid", &self.account_sid),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", &self.call_sid),
            ("CallStatus", "in-progress"),
            ("Called", &self.to),
            ("Caller", &self.from),
            ("Direction", "inbound"),
            ("From", &self.from),
            ("ReferTransferTarget", refer_to),
            ("To", &self.to),
        ]
    }
}

/// POSTs the refer URL.
pub(super) async fn ask(url: String, identity: Identity, refer_to: String) -> WebhookReport {
    crate::net::tls::install_provider();
    let failed = |error: reqwest::Error| WebhookReport {
        // Without the URL: it may hold a secret, and the asker knows it.
        error: Some(error.without_url().to_string()),
        ..WebhookReport::default()
    };
    let client = reqwest::Client::builder()
        .timeout(WEBHOOK_TIMEOUT)
        .redirect(reqwest::redirect::Policy::limited(5))
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return failed(error),
    };
    let request = client.post(url).form(&identity.form(&refer_to));
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return failed(error),
    };
    let mut report = WebhookReport {
        status: Some(response.status().as_u16()),
        ..WebhookReport::default()
    };
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() < MAX_BODY => body.extend_from_slice(&chunk),
            Ok(_) => break,
            Err(error) => {
                report.error = Some(error.without_url().to_string());
                break;
            }
        }
    }
    body.truncate(MAX_BODY);
    report.body = String::from_utf8_lossy(&body).into_owned();
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_named_as_twilio_names_it() {
        let identity = Identity::generate(&mut Entropy::from_number(1), "+1555", "bot");
        assert_eq!(identity.call_sid.len(), 34);
        assert!(identity.call_sid.starts_with("CA"));
        let form = identity.form("<sip:q@x?X-Key=k>");
        assert!(form.contains(&("ReferTransferTarget", "<sip:q@x?X-Key=k>")));
        assert!(form.contains(&("From", "+1555")));
    }

    #[tokio::test]
    async fn an_url_that_leads_nowhere_is_told_without_itself() {
        let identity = Identity::generate(&mut Entropy::from_number(1), "a", "b");
        let report = ask(
            "not a url?token=secret".into(),
            identity,
            "<sip:a@b>".into(),
        )
        .await;
        assert_eq!(report.status, None);
        assert!(!report.is_success());
        assert!(!report.error.unwrap().contains("secret"));
    }
}
