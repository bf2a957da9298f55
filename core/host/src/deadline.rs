//! How long a call may take, and what does not count.
//!
//! A call that moves bytes for its caller is not slow because there are many: each piece that passes
//! gives it more time, at a rate that every working line reaches. While the caller looks at a piece
//! and has not come for the next one, nothing counts at all. What a caller sets, it gets: a time of
//! its own does not grow.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use crate::output::{ByteStream, Input};
use crate::{HostError, Problem, limits};

/// How long a call may take, waiting included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    time: Duration,
    grows: bool,
}

impl Default for Deadline {
    /// [`limits::CALL_TIME`], and a second more for every [`limits::SLOWEST_BYTES`] that pass between
    /// the call and its caller.
    fn default() -> Self {
        Self { time: limits::CALL_TIME, grows: true }
    }
}

impl Deadline {
    /// So long and no longer, from the wait for its turn to the last byte of its output.
    #[must_use]
    pub const fn within(time: Duration) -> Self {
        Self { time, grows: false }
    }

    /// The time begins to run.
    pub(crate) fn begin(self) -> Clock {
        Clock(Arc::new(Running { deadline: self, begun: Instant::now(), more: AtomicU64::new(0) }))
    }
}

/// The time of one call. Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Running>);

#[derive(Debug)]
struct Running {
    deadline: Deadline,
    begun: Instant,
    /// What it has been given since, microseconds.
    more: AtomicU64,
}

/// The time is over.
#[derive(Debug)]
pub(crate) struct Over;

impl Clock {
    fn allowed(&self) -> Duration {
        self.0.deadline.time + Duration::from_micros(self.0.more.load(Ordering::Relaxed))
    }

    fn grow(&self, microseconds: u64) {
        if self.0.deadline.grows {
            self.0.more.fetch_add(microseconds, Ordering::Relaxed);
        }
    }

    fn passed(&self, bytes: usize) {
        self.grow(bytes as u64 * 1_000_000 / limits::SLOWEST_BYTES);
    }

    fn waited_for_the_caller(&self, time: Duration) {
        self.grow(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Waits for work, until the time is over.
    pub(crate) async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Over> {
        let mut work = pin!(work);
        loop {
            let end = self.0.begun + self.allowed();
            match timeout_at(end, work.as_mut()).await {
                Ok(done) => return Ok(done),
                // It was given more while it worked.
                Err(_) if self.0.begun + self.allowed() > end => {}
                Err(_) => return Err(Over),
            }
        }
    }

    /// Why a call ended with its time.
    pub(crate) fn error(&self) -> HostError {
        HostError::Deadline(self.allowed())
    }

    /// What the caller gives the call to read. Its bytes give time.
    pub(crate) fn input(&self, input: Input) -> Input {
        if !self.0.deadline.grows {
            return input;
        }
        let clock = self.clone();
        let counted = input.stream.inspect(move |piece| clock.passed(piece.as_ref().map_or(0, Bytes::len)));
        Input { stream: counted.boxed(), ..input }
    }

    /// A stream to the caller, which ends with a problem when the time is over. Its bytes give time,
    /// and what the caller takes to come back for the next piece is not the call's.
    pub(crate) fn output(&self, stream: ByteStream) -> ByteStream {
        let state = (self.clone(), Some(stream), None::<Instant>);
        stream::unfold(state, async |(clock, stream, given)| {
            let mut stream = stream?;
            if let Some(given) = given {
                clock.waited_for_the_caller(given.elapsed());
            }
            let piece = match clock.hold(stream.next()).await {
                Ok(piece) => piece?,
                Err(Over) => {
                    let problem = Problem::new("stopped", clock.error().to_string());
                    return Some((Err(problem), (clock, None, None)));
                }
            };
            clock.passed(piece.as_ref().map_or(0, Bytes::len));
            Some((piece, (clock, Some(stream), Some(Instant::now()))))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deadline that grows from so little that a test can wait for it.
    const TIME: Duration = Duration::from_millis(1_000);

    fn growing() -> Clock {
        Deadline { time: TIME, grows: true }.begin()
    }

    async fn milliseconds(milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    /// Pieces of so many bytes, each after so many milliseconds.
    fn pieces(count: usize, bytes: usize, each: u64) -> ByteStream {
        let piece = Bytes::from(vec![7; bytes]);
        stream::iter(0..count)
            .then(move |_| {
                let piece = piece.clone();
                async move {
                    milliseconds(each).await;
                    Ok(piece)
                }
            })
            .boxed()
    }

    /// How many of the caller's pieces a call reads before its time is over.
    async fn read(clock: &Clock, stream: ByteStream) -> Result<usize, usize> {
        let mut stream = clock.input(Input { media_type: String::new(), size: None, stream }).stream;
        let mut count = 0;
        let all = async {
            while stream.next().await.is_some() {
                count += 1;
            }
        };
        match clock.hold(all).await {
            Ok(()) => Ok(count),
            Err(Over) => Err(count),
        }
    }

    #[tokio::test]
    async fn work_ends_with_its_time() {
        assert!(growing().hold(milliseconds(10)).await.is_ok());
        assert!(growing().hold(milliseconds(1_500)).await.is_err());
        assert_eq!(growing().error().to_string(), "the call was stopped after 1 seconds");
    }

    #[tokio::test]
    async fn bytes_that_pass_give_time() {
        // 320 KiB per second, and 5 KiB per second.
        assert_eq!(read(&growing(), pieces(10, 64 << 10, 200)).await, Ok(10));
        let slow = read(&growing(), pieces(10, 1 << 10, 200)).await.expect_err("the time is over");
        assert!((1..10).contains(&slow), "{slow}");
        let fixed = read(&Deadline::within(TIME).begin(), pieces(10, 64 << 10, 200)).await;
        assert!(fixed.is_err(), "what the caller set stands");
    }

    #[tokio::test]
    async fn an_output_ends_with_a_problem() {
        assert_eq!(growing().output(pieces(10, 64 << 10, 200)).collect::<Vec<_>>().await.len(), 10);
        let mut given = Deadline::within(TIME).begin().output(pieces(10, 64 << 10, 200)).collect::<Vec<_>>().await;
        let last = given.pop().expect("a last piece").expect_err("a problem");
        assert_eq!(last.message, "the call was stopped after 1 seconds");
        assert!((1..10).contains(&given.len()) && given.iter().all(Result::is_ok), "{}", given.len());
    }

    #[tokio::test]
    async fn a_caller_that_takes_its_time_takes_none_of_the_calls() {
        let mut output = growing().output(pieces(3, 1, 10));
        while let Some(piece) = output.next().await {
            piece.expect("no end");
            milliseconds(1_100).await;
        }
        let mut output = Deadline::within(TIME).begin().output(pieces(2, 1, 10));
        assert!(output.next().await.expect("a piece").is_ok());
        milliseconds(1_100).await;
        assert!(output.next().await.expect("an end").is_err(), "what the caller set stands");
    }
}
