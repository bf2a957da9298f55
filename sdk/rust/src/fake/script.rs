//! The script of a server: expected requests, those that were sent, and the report of the
//! differences.

use std::fmt::Write as _;

use super::exchange::Exchange;
use crate::Problem;
use crate::bindings::{Answer, SentRequest};

/// The expected requests, and the requests that were sent.
#[derive(Debug, Default)]
pub(super) struct Script {
    exchanges: Vec<Expected>,
    pub(super) in_order: bool,
    pub(super) sent: Vec<SentRequest>,
    /// Descriptions of the requests that match no exchange.
    unexpected: Vec<String>,
}

#[derive(Debug)]
struct Expected {
    exchange: Exchange,
    /// Number of requests that were answered.
    answered: usize,
}

impl Expected {
    /// Checks whether the exchange expects a further request.
    fn is_open(&self) -> bool {
        self.exchange.expected().is_none_or(|expected| self.answered < expected)
    }

    /// Checks whether the exchange requires a further request.
    fn is_unmet(&self) -> bool {
        self.exchange.expected().is_some_and(|expected| self.answered < expected)
    }
}

impl Script {
    pub(super) fn add(&mut self, exchange: Exchange) {
        self.exchanges.push(Expected { exchange, answered: 0 });
    }

    /// Answers a request from the first exchange that matches it.
    pub(super) fn answer(&mut self, sent: SentRequest) -> Result<Answer, Problem> {
        self.sent.push(sent.clone());
        let first_unmet = self.exchanges.iter().position(Expected::is_unmet);
        let matching = self.exchanges.iter().enumerate().position(|(at, expected)| {
            let is_next = !self.in_order || !expected.is_unmet() || Some(at) == first_unmet;
            is_next && expected.is_open() && expected.exchange.differences(&sent).is_empty()
        });
        let Some(at) = matching else {
            let description = self.describe(&sent);
            self.unexpected.push(description.clone());
            return Err(Problem::new("failed", format!("the test does not expect this request\n{description}")));
        };
        let expected = &mut self.exchanges[at];
        expected.answered += 1;
        expected.exchange.response(expected.answered - 1).into_answer()
    }

    /// Describes an unexpected request, and its differences from the closest exchange.
    fn describe(&self, sent: &SentRequest) -> String {
        let mut text = format!("request {} is not expected: {} {}", self.sent.len(), sent.method, sent.url);
        let differences = |expected: &Expected| expected.exchange.differences(sent);
        let closest = self.exchanges.iter().enumerate().min_by_key(|(_, expected)| {
            (!expected.exchange.is_near(sent), !expected.is_open(), differences(expected).len())
        });
        if let Some((at, expected)) = closest {
            let _ = write!(text, "\n  the closest is expectation {}: {}", at + 1, expected.exchange);
            let differences = differences(expected);
            for difference in &differences {
                let _ = write!(text, "\n    {difference}");
            }
            if !expected.is_open() {
                let _ = write!(text, "\n    it was already answered {} times", expected.answered);
            } else if differences.is_empty() {
                text.push_str("\n    an earlier expectation was not met, and the order is checked");
            }
        }
        text
    }

    /// Reports the unexpected requests and the unmet expectations, if there are any.
    pub(super) fn report(&self) -> Option<String> {
        let mut lines = self.unexpected.clone();
        for (at, expected) in self.exchanges.iter().enumerate().filter(|(_, expected)| expected.is_unmet()) {
            let wanted = expected.exchange.expected().unwrap_or_default();
            lines.push(format!(
                "expectation {} is not met: {} (sent {} of {wanted} times)",
                at + 1,
                expected.exchange,
                expected.answered
            ));
        }
        (!lines.is_empty()).then(|| format!("the requests differ from the script:\n{}", lines.join("\n")))
    }
}
