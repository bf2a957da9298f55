//! Every limit on what a bundle controls: a name, a unit, a reason. Memory and time are tight,
//! because they protect; counts are generous, because toolchains differ (components made from
//! Python or JavaScript have many instances and large tables).
//!
//! Limits on one bundle's file come first, then those of a call, then those of what its functions of
//! the host may hold.

use std::time::Duration;

pub use blockyard_model::limits::*;

/// Largest component file, bytes: the largest known toolchain makes 35 MB.
pub const COMPONENT_BYTES: usize = 64 << 20;
/// Largest manifest, bytes: a hundred types with long descriptions.
pub const MANIFEST_BYTES: usize = 1 << 20;
/// Functions of one component, all modules together: the largest known toolchain makes 60,000.
/// Counted before anything is compiled, for compiling takes the processor.
pub const FUNCTIONS: usize = 200_000;
/// Code of one function, bytes: the compiler takes more than twice the time for one of twice the
/// size. The largest known, an interpreter's loop, has a quarter of this.
pub const FUNCTION_BYTES: usize = 1 << 20;
/// Components that are compiled at the same time. Each is compiled on all processors.
pub const CONCURRENT_COMPILATIONS: usize = 2;
/// Compiled code that is kept between processes, bytes; what was not used for longest goes first.
pub const CACHE_BYTES: u64 = 1 << 30;
/// Largest project file, bytes: thousands of bundles. Its author is not the user who reads it.
pub const PROJECT_BYTES: u64 = 1 << 20;
/// All linear memories of a call together, bytes.
pub const MEMORY_BYTES: usize = 256 << 20;
/// Core instances, tables and memories of one component.
pub const CORE_INSTANCES: usize = 256;
/// See [`CORE_INSTANCES`].
pub const TABLES: usize = 64;
/// See [`CORE_INSTANCES`].
pub const MEMORIES: usize = 32;
/// Elements of one table: as many functions as an interpreter has behind pointers.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Elements of all tables of a call together; each takes 8 bytes or 16.
pub const ALL_TABLE_ELEMENTS: usize = 500_000;
/// Calls of one process that run at the same time; further ones wait for their turn, within their own
/// deadline. With [`MEMORY_BYTES`] it bounds the memory of all. Questions (`describe`, `validate`,
/// `migrate`) have as many turns of their own.
pub const CONCURRENT_CALLS: usize = 64;
/// The guest's stack, bytes; deeper recursion traps.
pub const STACK_BYTES: usize = 512 << 10;
/// How often a running guest is interrupted, so that others get their turn.
pub const TICK: Duration = Duration::from_millis(5);
/// Time on the processor per call, in ticks: 30 seconds.
pub const CPU_TICKS: u64 = 6_000;
/// Time on the processor after which a guest goes on on a thread of its own, out of the way of calls
/// that only wait. A thread costs as much as a short call, so nearly all calls end before.
pub const INLINE: Duration = Duration::from_millis(5);
/// Bytes of a result above which it is read beside the caller's own work, for the same reason.
pub const INLINE_BYTES: usize = 256 << 10;
/// Steps (of wasmtime's fuel) of one `describe`, `validate` or `migrate`: a second or two. The same
/// everywhere, so that a fast machine accepts what a slow one does.
pub const PURE_FUEL: u64 = 1_000_000_000;
/// Steps after which a question stops, so that others get their turn: a few milliseconds.
pub const PURE_FUEL_TICK: u64 = 1_000_000;
/// Time of one question from its beginning to its end. Its steps end it long before, unless the machine
/// is very slow.
pub const PURE_TIME: Duration = Duration::from_secs(20);
/// Violations that one `validate` may find; further ones are dropped.
pub const VIOLATIONS: usize = 100;
/// Time from the beginning to the end of a call, waiting included, where the caller sets none.
pub const CALL_TIME: Duration = Duration::from_secs(300);
/// Bytes per second at which what passes between a call and its caller gives the call more time: an
/// eighth of a megabit is less than any line that a data set is sent over.
pub const SLOWEST_BYTES: u64 = 16 << 10;
/// How long a call waits in all for whoever reads its output, beside its own time: somebody looks at a
/// page of it. It holds its turn meanwhile.
pub const READER_TIME: Duration = Duration::from_secs(3_600);
/// Bytes that cross from guest to host in one function call (strings, lists).
pub const HOST_CALL_BYTES: usize = 64 << 20;
/// Handles that a guest holds at the same time.
pub const HANDLES: usize = 1_000;
/// Lines of log per call; further ones are dropped.
pub const LOG_LINES: usize = 1_000;
/// Bytes of all lines of log of a call; further lines are dropped. A quarter of [`LOG_LINES`] of the
/// longest: a flood is read by nobody.
pub const LOG_BYTES: usize = 1 << 20;
/// Bytes of one log line as it is shown; the rest is cut.
pub const LOG_LINE_BYTES: usize = 4 << 10;
/// Bytes of one log line that are searched for secrets before it is cut: a secret of 64 KiB, three
/// bytes for each.
pub const LOG_SEARCHED_BYTES: usize = 256 << 10;
/// Bytes of a message of a problem; the rest is cut.
pub const MESSAGE_BYTES: usize = 16 << 10;
/// Bytes of a result, as JSON. Larger results are streams. Read, a document takes up to 16 times its
/// text, so this one takes as much as [`MEMORY_BYTES`].
pub const RESULT_BYTES: usize = 16 << 20;
/// Bytes of one `read` from a body.
pub const BODY_CHUNK_BYTES: usize = 4 << 20;
/// Rows of one Arrow batch.
pub const BATCH_ROWS: usize = 8 << 10;
/// Bytes of one Arrow batch; it is sent when it is larger, so it may be one row over.
pub const BATCH_BYTES: usize = 4 << 20;
/// Batches that wait for the reader of a result. Memory is bounded by this times [`BATCH_BYTES`].
pub const BATCHES_AHEAD: usize = 2;
/// Rows of one batch of values for a guest.
pub const VALUE_ROWS: usize = 512;
/// Connections of one block revision to one server, in use and idle together, whatever the bundle chooses for
/// them: a server commonly has 100 for everybody.
pub const POOL_CONNECTIONS: usize = 8;
/// Idle connections of a process, all blocks together; the oldest is closed first.
pub const SQL_IDLE_CONNECTIONS: usize = 64;
/// Databases of SQLite in memory that a process has between calls, all blocks together; the one that was
/// not used for longest goes first.
pub const SQLITE_MEMORY_DATABASES: usize = 16;
/// Bytes of one of them.
pub const SQLITE_DATABASE_BYTES: usize = 64 << 20;
/// Bytes of a page of theirs; SQLite's default.
pub const SQLITE_PAGE_BYTES: usize = 4 << 10;
/// Bytes that SQLite holds for the statements of one call, all its connections together: two of the longest
/// values, or a sort's share.
pub const SQLITE_MEMORY_BYTES: u64 = 128 << 20;
/// Bytes of SQLite's temporary files for one call: what does not fit into memory is sorted there.
pub const SQLITE_TEMPORARY_BYTES: u64 = 1 << 30;
/// Bytes of one value or one row in SQLite, as many as cross from guest to host at once.
pub const SQLITE_VALUE_BYTES: usize = HOST_CALL_BYTES;
/// Bytes of one statement for SQLite, which compiles it before anything can stop it.
pub const SQLITE_STATEMENT_BYTES: usize = 16 << 20;
/// Bytes of SQLite's heap for the whole process. Holds only where the embedding program has used SQLite
/// before its first yard: then calls cannot be counted one by one.
pub const SQLITE_PROCESS_BYTES: u64 = 1 << 30;
/// Time to resolve, connect and authenticate.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Time that one statement may take on the database's side.
pub const STATEMENT_TIME: Duration = Duration::from_secs(300);
/// How long an idle connection to a server is kept.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
/// Longest single wait that a guest may ask for, so that a call notices its deadline.
pub const SLEEP: Duration = Duration::from_secs(60);
/// Most random bytes at once.
pub const RANDOM_BYTES: u32 = 64 << 10;
/// Headers of one request or answer, together: servers commonly take 8 to 64 KiB.
pub const HTTP_HEADER_BYTES: usize = 64 << 10;
/// Headers of one request or answer.
pub const HTTP_HEADERS: usize = 128;
/// Time from sending a request to the head of its answer, where the bundle asks for no less; what it sends
/// has time of its own, by [`SLOWEST_BYTES`].
pub const HTTP_TIME: Duration = Duration::from_secs(120);
/// The same for a stream of unknown size: the call's deadline ends it before.
pub const LONGEST_HTTP_TIME: Duration = Duration::from_secs(86_400);
/// Time between two pieces of an answer: a server that drips does not hold a connection for ever.
pub const HTTP_IDLE_TIME: Duration = Duration::from_secs(60);
/// How often one request is led on.
pub const REDIRECTS: usize = 10;
/// Idle connections that are kept to one server.
pub const IDLE_CONNECTIONS: usize = 8;
/// Pages of one list of objects: with the 1,000 objects that a page of Cloud Storage has, 100 million.
pub const LIST_PAGES: usize = 100_000;
/// Pages without an object that may follow one another. A storage may skip over removed objects so.
pub const LIST_EMPTY_PAGES: usize = 1_000;
/// Bytes of a token server's answer.
pub const TOKEN_ANSWER_BYTES: usize = 64 << 10;
/// Bytes of its reason that are shown where it refuses.
pub const TOKEN_REASON_BYTES: usize = 400;
/// Time that a token server has.
pub const TOKEN_TIME: Duration = Duration::from_secs(30);
/// Tokens that are kept per process.
pub const TOKENS: usize = 1_024;
/// A token is not used any more in its last moments: a request that is on its way may arrive too late.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// Longest piece that a secret is searched for as, bytes; a longer secret is searched for piece by piece, so that
/// memory and the bytes held back of a stream do not grow with it.
pub const SEARCHED_PIECE_BYTES: usize = 256;
/// Bytes that one byte of a secret has at most in an encoded text: `\u0041` within percent-encoding is 18.
pub const ENCODED_BYTES: usize = 24;
/// Bytes of a text that are searched at once. Decoded copies take ten times as much for the while.
pub const SEARCHED_BYTES: usize = 256 << 10;
/// Places of a call's answers that are masked for the bundle before the call is stopped: a server that echoes a
/// request has one or two, and a call has few such requests. Each tells the bundle where a secret is.
pub const MASKED_PLACES: usize = 64;
/// Bytes that a bundle has sent and read in a call when a secret is masked in an answer; above, the call is
/// stopped. An honest echo comes early, and a search for a secret needs as many bytes as it has guesses.
pub const MASKED_WITHIN_BYTES: usize = 256 << 10;
/// Characters of the bundle's own words that a message of the host quotes.
pub const QUOTED_CHARACTERS: usize = 80;
