//! Request methods (RFC 3261 §7.1, and the extensions we speak). Case-sensitive, never unescaped.

use std::fmt;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// RFC 3261 §13.
    Invite,
    /// RFC 3261 §17.1.1.3.
    Ack,
    /// RFC 3261 §15.
    Bye,
    /// RFC 3261 §9.
    Cancel,
    /// RFC 3261 §11.
    Options,
    /// RFC 3515.
    Refer,
    /// RFC 6665.
    Notify,
    /// RFC 3261 §10.
    Register,
    /// RFC 3311.
    Update,
    /// RFC 3262.
    Prack,
    /// RFC 6086.
    Info,
    /// RFC 3428.
    Message,
    /// RFC 6665.
    Subscribe,
    /// RFC 3903.
    Publish,
    /// Any other, as written. Boxed, because it is rare and methods are copied a lot.
    Other(Box<str>),
}

impl Method {
    /// Reads a method as written: `invite` and `INV%49TE` are not INVITE (RFC 4475 §3.1.1.5).
    pub fn new(text: &str) -> Self {
        match text {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "OPTIONS" => Self::Options,
            "REFER" => Self::Refer,
            "NOTIFY" => Self::Notify,
            "REGISTER" => Self::Register,
            "UPDATE" => Self::Update,
            "PRACK" => Self::Prack,
            "INFO" => Self::Info,
            "MESSAGE" => Self::Message,
            "SUBSCRIBE" => Self::Subscribe,
            "PUBLISH" => Self::Publish,
            other => Self::Other(other.into()),
        }
    }

    /// As it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Refer => "REFER",
            Self::Notify => "NOTIFY",
            Self::Register => "REGISTER",
            Self::Update => "UPDATE",
            Self::Prack => "PRACK",
            Self::Info => "INFO",
            Self::Message => "MESSAGE",
            Self::Subscribe => "SUBSCRIBE",
            Self::Publish => "PUBLISH",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Method {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_method_is_read_back_as_printed() {
        for text in [
            "INVITE",
            "ACK",
            "BYE",
            "CANCEL",
            "OPTIONS",
            "REFER",
            "NOTIFY",
            "REGISTER",
            "UPDATE",
            "PRACK",
            "INFO",
            "MESSAGE",
            "SUBSCRIBE",
            "PUBLISH",
        ] {
            let method = Method::new(text);
            assert!(!matches!(method, Method::Other(_)), "{text}");
            assert_eq!(method.to_string(), text);
        }
    }

    #[test]
    fn methods_are_case_sensitive_and_never_unescaped() {
        for text in ["invite", "RE%47IST%45R", "", "NEWMETHOD"] {
            let method = Method::from(text);
            assert!(matches!(method, Method::Other(_)), "{text}");
            assert_eq!(method.as_str(), text);
        }
    }
}
