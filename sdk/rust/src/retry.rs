//! Retries of requests that fail for a transient reason: exponential backoff with jitter, the
//! server's `Retry-After`, and a limit on the total time. Requires the capability `clock`.
//!
//! A request can fail after the server has processed it. Retry only requests that are harmless to
//! repeat: GET, HEAD, and others that have the same effect if they are processed twice, e.g.
//! because of a precondition or an ID that the client chooses.
//!
//! ```
//! use blockyard_sdk::prelude::*;
//! use blockyard_sdk::retry::Policy;
//! use blockyard_sdk::{http, random};
//!
//! const RETRIES: Policy = Policy::new(4).jitter(random::bytes);
//!
//! fn items(url: &str) -> Result<Vec<Value>> {
//!     RETRIES.send(|| Ok(http::get(url)))?.response.ok()?.json()
//! }
//! ```

use core::time::Duration;

use crate::calendar::{self, DAY_MICROS};
use crate::clock;
use crate::http::{Request, Response};
use crate::{Problem, Result};

/// Wait before the second attempt. Each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Maximum wait between two attempts, unless the server requests a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(32);
/// Upper bound of the jitter in milliseconds.
const JITTER_MILLIS: u64 = 1_000;
/// Default limit on the total time: that of the client libraries of Google Cloud.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Maximum duration of one `sleep` of the host.
const SLEEP: Duration = Duration::from_secs(60);

/// Number of attempts, and the waits between them.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    attempts: u32,
    time_limit: Duration,
    random: Option<fn(u32) -> Vec<u8>>,
}

/// Response to a request that may have been sent repeatedly.
#[derive(Debug)]
pub struct RetriedResponse {
    /// Response to the last attempt. It can have any status.
    pub response: Response,
    /// Number of attempts. After the first one, a status such as 404, 409 or 412 may refer to the
    /// effect of an earlier attempt whose response was lost.
    pub attempts: u32,
}

/// Attempts of one operation so far.
#[derive(Debug)]
pub struct Backoff {
    policy: Policy,
    started: Duration,
    attempts: u32,
}

impl Policy {
    /// Creates a policy with a maximum number of attempts. The waits are 1, 2, 4, … seconds, at
    /// most 32. No attempt begins later than two minutes after the first.
    #[must_use]
    pub const fn new(attempts: u32) -> Self {
        Self { attempts, time_limit: TIME_LIMIT, random: None }
    }

    /// Adds up to one second of jitter to each wait, so that clients that failed together do not
    /// retry together. `random` is [`random::bytes`](crate::random::bytes); the bundle must request
    /// the capability `random`.
    #[must_use]
    pub const fn jitter(self, random: fn(u32) -> Vec<u8>) -> Self {
        Self { random: Some(random), ..self }
    }

    /// Sets the time after the start of the first attempt during which further attempts can begin.
    #[must_use]
    pub const fn time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// Begins an operation; its first attempt starts now.
    #[must_use]
    pub fn start(&self) -> Backoff {
        Backoff { policy: *self, started: clock::now(), attempts: 1 }
    }

    /// Sends a request until it succeeds, fails permanently, or the policy permits no further
    /// attempt. See [`is_transient`] for the failures that are retried.
    ///
    /// # Errors
    /// The request cannot be created, or no response was received to the last attempt.
    pub fn send(&self, request: impl Fn() -> Result<Request>) -> Result<RetriedResponse> {
        self.send_while(request, |answer| {
            let transient = is_transient(&answer);
            (answer, transient)
        })
    }

    /// Sends a request like [`send`](Self::send), as long as `classify` classifies the answer as a
    /// transient failure. `classify` returns the answer, because it may have to read the body.
    ///
    /// # Errors
    /// The request cannot be created, or no response was received to the last attempt.
    pub fn send_while(
        &self,
        request: impl Fn() -> Result<Request>,
        classify: impl Fn(Result<Response>) -> (Result<Response>, bool),
    ) -> Result<RetriedResponse> {
        let mut backoff = self.start();
        loop {
            let (answer, transient) = classify(request()?.send());
            let wait = answer.as_ref().ok().and_then(retry_after);
            let attempts = backoff.attempts;
            if !transient || !backoff.wait(wait) {
                return answer.map(|response| RetriedResponse { response, attempts });
            }
        }
    }

    /// Returns the wait after the attempt with this number.
    fn pause(&self, attempt: u32) -> Duration {
        let jitter = self.random.map_or(0, |random| {
            random(2).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % JITTER_MILLIS
        });
        let doubled = FIRST_WAIT.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
        doubled.saturating_add(Duration::from_millis(jitter)).min(LONGEST_WAIT)
    }
}

impl Backoff {
    /// Waits before the next attempt, at least for the time that the server requests. Returns
    /// `false` without waiting if the policy permits no further attempt.
    #[must_use]
    pub fn wait(&mut self, at_least: Option<Duration>) -> bool {
        let Some(mut pause) = self.next(clock::now(), at_least) else { return false };
        while !pause.is_zero() {
            let part = pause.min(SLEEP);
            clock::sleep(part);
            pause -= part;
        }
        true
    }

    /// Counts an attempt and returns the wait before it.
    fn next(&mut self, now: Duration, at_least: Option<Duration>) -> Option<Duration> {
        if self.attempts >= self.policy.attempts {
            return None;
        }
        let pause = self.policy.pause(self.attempts).max(at_least.unwrap_or_default());
        let passed = now.saturating_sub(self.started);
        if passed.saturating_add(pause) > self.policy.time_limit {
            return None;
        }
        self.attempts += 1;
        Some(pause)
    }
}

/// Checks for a failure that may pass: no response because of a retryable problem, such as a broken
/// connection, or status 408, 429 or 5xx.
#[must_use]
pub fn is_transient(answer: &Result<Response>) -> bool {
    match answer {
        Ok(response) => matches!(response.status, 408 | 429 | 500..=599),
        Err(problem) => Problem::is_retryable(problem),
    }
}

/// Returns the wait that the server requests with `Retry-After` (RFC 9110, section 10.2.3).
#[must_use]
pub fn retry_after(response: &Response) -> Option<Duration> {
    requested_wait(response.header("retry-after")?, clock::now)
}

/// Parses a number of seconds, or a date.
fn requested_wait(text: &str, now: impl FnOnce() -> Duration) -> Option<Duration> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    Some(http_date(text)?.saturating_sub(now()))
}

/// Parses a date such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7) to the time
/// since 1970-01-01 UTC.
fn http_date(text: &str) -> Option<Duration> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let mut parts = rest.split(' ');
    let (day, month, year, clock) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let days = calendar::date(&format!("{year}-{month:02}-{day}"))?;
    let micros = i64::from(days) * DAY_MICROS + calendar::time(clock)?;
    Some(Duration::from_micros(u64::try_from(micros).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the waits of an operation whose attempts fail at once.
    fn waits(policy: Policy, at_least: Option<Duration>) -> Vec<u128> {
        let mut backoff = Backoff { policy, started: SECOND, attempts: 1 };
        let (mut now, mut waits) = (SECOND, Vec::new());
        while let Some(wait) = backoff.next(now, at_least) {
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(backoff.attempts as usize, waits.len() + 1);
        waits
    }

    #[test]
    fn delays_double_up_to_a_maximum() {
        let policy = Policy::new(9).time_limit(SECOND * 1_000);
        assert_eq!(waits(policy, None), [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000]);
        assert_eq!(waits(Policy::new(1), None), Vec::<u128>::new());
        assert_eq!(policy.pause(200), LONGEST_WAIT);
    }

    #[test]
    fn jitter_is_less_than_a_second() {
        fn some(_: u32) -> Vec<u8> {
            vec![0x01, 0xf4]
        }
        fn most(_: u32) -> Vec<u8> {
            vec![0x03, 0xe7]
        }
        assert_eq!(waits(Policy::new(3).jitter(some), None), [1_500, 2_500]);
        assert_eq!(waits(Policy::new(3).jitter(most), None), [1_999, 2_999]);
    }

    #[test]
    fn the_total_time_is_limited() {
        let policy = Policy::new(9).time_limit(SECOND * 8);
        assert_eq!(waits(policy, None), [1_000, 2_000, 4_000]);
        let mut slow = Backoff { policy, started: SECOND, attempts: 1 };
        assert_eq!(slow.next(SECOND * 9, None), None, "the first attempt used all of the time");
    }

    #[test]
    fn server_can_request_a_longer_delay() {
        assert_eq!(waits(Policy::new(4), Some(SECOND * 3)), [3_000, 3_000, 4_000]);
        assert_eq!(waits(Policy::new(4), Some(SECOND * 121)), Vec::<u128>::new());
        let now = || Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:39 GMT", Some(2)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("Sun, 06 Now 1994 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(requested_wait(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn only_transient_failures_are_retried() {
        assert!(is_transient(&Err(Problem::new("unavailable", "closed").retryable())));
        assert!(!is_transient(&Err(Problem::new("denied", "no grant"))));
    }
}
