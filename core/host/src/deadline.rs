//! Deadlines of calls, and their extension while data is transferred.
//!
//! A call that transfers much data for its caller should not time out because of the amount: each
//! chunk that passes extends the deadline, at a rate that every working connection exceeds
//! ([`limits::SLOWEST_BYTES`]). While the caller processes a chunk and has not requested the next
//! one, the clock is paused, for at most [`limits::READER_TIME`] in total. A deadline that the
//! caller sets explicitly is neither extended nor paused.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blockyard_call::{ByteStream, Input, Problem, limits};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use crate::error::HostError;

/// The maximum duration of a call, waiting included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    time: Duration,
    /// Time that has passed before the clock is started.
    spent: Duration,
    grows: bool,
}

impl Default for Deadline {
    /// Returns [`limits::CALL_TIME`], extended by one second for every [`limits::SLOWEST_BYTES`]
    /// that pass between the call and its caller.
    fn default() -> Self {
        Self { time: limits::CALL_TIME, spent: Duration::ZERO, grows: true }
    }
}

impl Deadline {
    /// Creates a fixed deadline, which transfers do not extend. It covers the call from the wait
    /// for a permit to the last byte of the output.
    #[must_use]
    pub const fn within(time: Duration) -> Self {
        Self { time, spent: Duration::ZERO, grows: false }
    }

    /// Returns the total time, without extensions.
    #[must_use]
    pub const fn time(&self) -> Duration {
        self.time
    }

    /// Returns the remaining time, without extensions.
    #[must_use]
    pub const fn left(&self) -> Duration {
        self.time.saturating_sub(self.spent)
    }

    /// Returns this deadline after `spent` more of its time has passed.
    #[must_use]
    pub const fn after(self, spent: Duration) -> Self {
        Self { spent: self.spent.saturating_add(spent), ..self }
    }

    /// Returns true if transfers extend the deadline.
    #[must_use]
    pub const fn grows(&self) -> bool {
        self.grows
    }

    /// Starts the clock.
    pub(crate) fn begin(self) -> Clock {
        Clock(Arc::new(Running {
            started: Instant::now().checked_sub(self.spent).unwrap_or_else(Instant::now),
            deadline: self,
            extension: AtomicU64::new(0),
            read: AtomicU64::new(0),
            reading: AtomicU64::new(NO_CHUNK),
        }))
    }
}

/// The running clock of one call. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Running>);

#[derive(Debug)]
struct Running {
    deadline: Deadline,
    started: Instant,
    /// Extension by the transferred bytes, in microseconds.
    extension: AtomicU64,
    /// Total time that the caller has spent on completed chunks, in microseconds.
    read: AtomicU64,
    /// Time at which the caller received its current chunk, in microseconds since the start;
    /// [`NO_CHUNK`] if it holds no chunk.
    reading: AtomicU64,
}

/// Value of [`Running::reading`] while the caller holds no chunk.
const NO_CHUNK: u64 = u64::MAX;

/// Interval at which a paused clock checks if the caller has requested the next chunk.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The deadline has passed.
#[derive(Debug)]
pub(crate) struct DeadlinePassed;

/// The reader of an output. Dropping it resumes the clock.
struct Reader(Clock);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.chunk_requested();
    }
}

impl Clock {
    fn allowed(&self) -> Duration {
        let Running { deadline, extension, .. } = &*self.0;
        if !deadline.grows {
            return deadline.time;
        }
        deadline.time + Duration::from_micros(extension.load(Ordering::Relaxed)) + self.read()
    }

    /// Returns the total time the caller has held chunks, capped at [`limits::READER_TIME`].
    fn read(&self) -> Duration {
        let reading = match self.0.reading.load(Ordering::Relaxed) {
            NO_CHUNK => 0,
            since => self.now().saturating_sub(since),
        };
        let read = self.0.read.load(Ordering::Relaxed).saturating_add(reading);
        Duration::from_micros(read).min(limits::READER_TIME)
    }

    /// Returns the microseconds since the start.
    fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_micros()).unwrap_or(NO_CHUNK - 1)
    }

    fn count_transfer(&self, bytes: usize) {
        self.0.extension.fetch_add(bytes as u64 * 1_000_000 / limits::SLOWEST_BYTES, Ordering::Relaxed);
    }

    /// Returns true if the clock is paused because the caller holds a chunk.
    fn is_paused(&self) -> bool {
        let Running { deadline, reading, .. } = &*self.0;
        deadline.grows && reading.load(Ordering::Relaxed) != NO_CHUNK && self.read() < limits::READER_TIME
    }

    /// Records that the caller received a chunk.
    fn chunk_delivered(&self) {
        self.0.reading.store(self.now(), Ordering::Relaxed);
    }

    /// Records that the caller requested the next chunk.
    fn chunk_requested(&self) {
        match self.0.reading.swap(NO_CHUNK, Ordering::Relaxed) {
            NO_CHUNK => {}
            since => drop(self.0.read.fetch_add(self.now().saturating_sub(since), Ordering::Relaxed)),
        }
    }

    /// Runs `work` until it completes or the deadline passes.
    pub(crate) async fn run_within<T>(&self, work: impl Future<Output = T>) -> Result<T, DeadlinePassed> {
        let mut work = pin!(work);
        loop {
            let mut end = self.0.started + self.allowed();
            if self.is_paused() {
                end = end.max(Instant::now() + POLL_INTERVAL);
            }
            match timeout_at(end, work.as_mut()).await {
                Ok(done) => return Ok(done),
                // The deadline was extended during the wait, or the clock is paused.
                Err(_) if self.is_paused() || self.0.started + self.allowed() > Instant::now() => {}
                Err(_) => return Err(DeadlinePassed),
            }
        }
    }

    /// Returns the error of a call whose deadline has passed.
    pub(crate) fn error(&self) -> HostError {
        HostError::Deadline(self.allowed())
    }

    /// Wraps the input of a call, so that its bytes extend the deadline.
    pub(crate) fn input(&self, input: Input) -> Input {
        if !self.0.deadline.grows {
            return input;
        }
        let clock = self.clone();
        let counted = input.stream.inspect(move |chunk| clock.count_transfer(chunk.as_ref().map_or(0, Bytes::len)));
        Input { stream: counted.boxed(), ..input }
    }

    /// Wraps the output of a call. Its bytes extend the deadline, and the clock is paused while the
    /// caller processes a chunk. The stream ends with a problem when the deadline passes.
    pub(crate) fn output(&self, stream: ByteStream) -> ByteStream {
        stream::unfold((Reader(self.clone()), Some(stream)), async |(reader, stream)| {
            let mut stream = stream?;
            let clock = &reader.0;
            clock.chunk_requested();
            let chunk = match clock.run_within(stream.next()).await {
                Ok(chunk) => chunk?,
                Err(DeadlinePassed) => {
                    let problem = Problem::new("stopped", clock.error().to_string());
                    return Some((Err(problem), (reader, None)));
                }
            };
            clock.count_transfer(chunk.as_ref().map_or(0, Bytes::len));
            clock.chunk_delivered();
            Some((chunk, (reader, Some(stream))))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Initial time of an extensible deadline, short enough for a test to wait for.
    const TIME: Duration = Duration::from_millis(1_000);

    fn growing() -> Clock {
        Deadline { time: TIME, spent: Duration::ZERO, grows: true }.begin()
    }

    async fn milliseconds(milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    /// Returns `count` chunks of `bytes` bytes, each after `each` milliseconds.
    fn chunks(count: usize, bytes: usize, each: u64) -> ByteStream {
        let chunk = Bytes::from(vec![7; bytes]);
        stream::iter(0..count)
            .then(move |_| {
                let chunk = chunk.clone();
                async move {
                    milliseconds(each).await;
                    Ok(chunk)
                }
            })
            .boxed()
    }

    /// Returns the number of input chunks that a call reads: `Ok` if it reads all, `Err` if the
    /// deadline passes before.
    async fn read(clock: &Clock, stream: ByteStream) -> Result<usize, usize> {
        let mut stream = clock.input(Input { media_type: String::new(), size: None, stream }).stream;
        let mut count = 0;
        let all = async {
            while stream.next().await.is_some() {
                count += 1;
            }
        };
        match clock.run_within(all).await {
            Ok(()) => Ok(count),
            Err(DeadlinePassed) => Err(count),
        }
    }

    #[tokio::test]
    async fn work_stops_at_the_deadline() {
        assert!(growing().run_within(milliseconds(10)).await.is_ok());
        assert!(growing().run_within(milliseconds(1_500)).await.is_err());
        assert_eq!(growing().error().to_string(), "the call was stopped after 1 seconds");
    }

    #[tokio::test]
    async fn transferred_bytes_extend_the_deadline() {
        // 80 KiB per second, which extends the deadline; then 500 bytes per second, which does not.
        assert_eq!(read(&growing(), chunks(10, 16 << 10, 200)).await, Ok(10));
        let slow = read(&growing(), chunks(10, 100, 200)).await.expect_err("the time is over");
        assert!((1..10).contains(&slow), "{slow}");
        let fixed = read(&Deadline::within(TIME).begin(), chunks(10, 16 << 10, 200)).await;
        assert!(fixed.is_err(), "a fixed deadline is not extended");
    }

    #[tokio::test]
    async fn an_output_past_the_deadline_ends_with_a_problem() {
        assert_eq!(growing().output(chunks(10, 16 << 10, 200)).collect::<Vec<_>>().await.len(), 10);
        let mut given = Deadline::within(TIME).begin().output(chunks(10, 16 << 10, 200)).collect::<Vec<_>>().await;
        let last = given.pop().expect("a last piece").expect_err("a problem");
        assert_eq!(last.message, "the call was stopped after 1 seconds");
        assert!((1..10).contains(&given.len()) && given.iter().all(Result::is_ok), "{}", given.len());
    }

    #[tokio::test]
    async fn time_of_a_slow_caller_is_not_counted() {
        let mut output = growing().output(chunks(3, 1, 10));
        while let Some(chunk) = output.next().await {
            chunk.expect("no end");
            milliseconds(1_100).await;
        }
        // The producer of the chunks waits for the reader, too, and is not stopped meanwhile.
        let clock = growing();
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, Problem>>(1);
        let maker = tokio::spawn({
            let clock = clock.clone();
            async move {
                let all = async {
                    for _ in 0..3 {
                        sender.send(Ok(Bytes::from_static(b"x"))).await.expect("the output is read");
                    }
                };
                clock.run_within(all).await
            }
        });
        let chunks_of = stream::unfold(receiver, async |mut all| all.recv().await.map(|chunk| (chunk, all)));
        let mut output = clock.output(chunks_of.boxed());
        assert!(output.next().await.expect("a piece").is_ok());
        milliseconds(2_500).await;
        assert_eq!(output.collect::<Vec<_>>().await.len(), 2);
        assert!(maker.await.expect("no panic").is_ok());

        let mut output = Deadline::within(TIME).begin().output(chunks(2, 1, 10));
        assert!(output.next().await.expect("a piece").is_ok());
        milliseconds(1_100).await;
        assert!(output.next().await.expect("an end").is_err(), "a fixed deadline is not extended");
    }
}
