//! All limits on what a bundle controls, each with its unit and reason.
//!
//! Limits on memory and time are tight, because they protect the host. Limits on counts are
//! generous, because toolchains differ: components built from Python or JavaScript have many
//! instances and large tables.
//!
//! The order is: limits on the bundle's file, limits on a call, limits on the resources that host
//! functions hold for a call.

use std::time::Duration;

pub use blockyard_model::limits::*;

/// Maximum size of a component file, in bytes. The largest known toolchain output is 35 MB.
pub const COMPONENT_BYTES: usize = 64 << 20;
/// Maximum size of a manifest, in bytes: enough for a hundred types with long descriptions.
pub const MANIFEST_BYTES: usize = 1 << 20;
/// Maximum number of functions in all modules of a component. The largest known toolchain output
/// has 60,000. Checked before compilation, because compilation takes processor time.
pub const FUNCTIONS: usize = 200_000;
/// Maximum code size of one function, in bytes. Compile time grows faster than linearly with this
/// size. The largest known function, the main loop of an interpreter, has a quarter of it.
pub const FUNCTION_BYTES: usize = 1 << 20;
/// Maximum number of components compiled concurrently. Each compilation uses all processors.
pub const CONCURRENT_COMPILATIONS: usize = 2;
/// Maximum size of the on-disk cache of compiled code, in bytes. The least recently used entries
/// are evicted first.
pub const CACHE_BYTES: u64 = 1 << 30;
/// Maximum size of a project file, in bytes: enough for thousands of bundles. The file is
/// untrusted, because the user who reads it is not its author.
pub const PROJECT_BYTES: u64 = 1 << 20;
/// Maximum size of the lock file of a project, in bytes: enough for a thousand bundles. The file is
/// untrusted, like the project file.
pub const LOCK_BYTES: u64 = 1 << 20;
/// Maximum size of all linear memories of a call, in bytes.
pub const MEMORY_BYTES: usize = 256 << 20;
/// Maximum number of core instances in a component. This limit, [`TABLES`] and [`MEMORIES`] size
/// the pooling allocator.
pub const CORE_INSTANCES: usize = 256;
/// Maximum number of tables in a component.
pub const TABLES: usize = 64;
/// Maximum number of linear memories in a component.
pub const MEMORIES: usize = 32;
/// Maximum number of elements of one table: enough for the function pointers of an interpreter.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Maximum number of elements in all tables of a call. An element takes 8 or 16 bytes.
pub const ALL_TABLE_ELEMENTS: usize = 500_000;
/// Maximum number of concurrent calls in a process. Further calls wait for a permit, within their
/// own deadline. Together with [`MEMORY_BYTES`], this bounds the memory of all calls. Pure calls
/// (`describe`, `validate`, `migrate`) have the same number of separate permits.
pub const CONCURRENT_CALLS: usize = 64;
/// Maximum stack size of a guest, in bytes. Deeper recursion traps.
pub const STACK_BYTES: usize = 512 << 10;
/// Interval at which a running guest yields, so that other tasks can run.
pub const TICK: Duration = Duration::from_millis(5);
/// Maximum processor time of a call, in ticks: 30 seconds.
pub const CPU_TICKS: u64 = 6_000;
/// Processor time after which a guest continues on a dedicated thread, so that it does not delay
/// calls that only wait. Starting a thread costs as much as a short call; nearly all calls end
/// before.
pub const INLINE: Duration = Duration::from_millis(5);
/// Size of a result, in bytes, above which it is parsed on a separate thread, so that parsing does
/// not delay the caller's other tasks.
pub const INLINE_BYTES: usize = 256 << 10;
/// Maximum fuel of one `describe`, `validate` or `migrate`, in units of wasmtime: one or two
/// seconds. Fuel does not depend on the speed of the machine, so all machines give the same result.
pub const PURE_FUEL: u64 = 1_000_000_000;
/// Fuel after which a pure call yields, so that other tasks can run: a few milliseconds.
pub const PURE_FUEL_TICK: u64 = 1_000_000;
/// Maximum time of a pure call, waiting included. The call runs out of fuel long before, unless the
/// machine is very slow.
pub const PURE_TIME: Duration = Duration::from_secs(20);
/// Maximum number of violations returned by one `validate`. Further ones are dropped.
pub const VIOLATIONS: usize = 100;
/// Maximum number of log lines of one `migrate` that are shown to the user. Further ones are
/// dropped.
pub const MIGRATION_NOTES: usize = 16;
/// Default time of a call from start to end, waiting included.
pub const CALL_TIME: Duration = Duration::from_secs(300);
/// Lowest expected transfer rate, in bytes per second. Bytes that pass between a call and its
/// caller extend the call's deadline at this rate. An eighth of a megabit per second is slower than
/// any connection used to transfer data sets.
pub const SLOWEST_BYTES: u64 = 16 << 10;
/// Maximum total time that a call waits for the reader of its output, in addition to its own time,
/// for example while a user reads a page of the output. The call holds its permit meanwhile.
pub const READER_TIME: Duration = Duration::from_secs(3_600);
/// Maximum size of the strings and lists that one host function call copies from the guest, in
/// bytes.
pub const HOST_CALL_BYTES: usize = 64 << 20;
/// Maximum number of handles that a guest holds at the same time.
pub const HANDLES: usize = 1_000;
/// Maximum number of log lines of a call. Further lines are dropped.
pub const LOG_LINES: usize = 1_000;
/// Maximum size of all log lines of a call, in bytes. Further lines are dropped. A quarter of
/// [`LOG_LINES`] lines of maximum length: no one reads a longer log.
pub const LOG_BYTES: usize = 1 << 20;
/// Maximum length of a log line as shown, in bytes. The rest is truncated.
pub const LOG_LINE_BYTES: usize = 4 << 10;
/// Maximum length of a log line that is searched for secrets before it is truncated, in bytes:
/// enough for a secret of 64 KiB with three bytes per byte of the secret.
pub const LOG_SEARCHED_BYTES: usize = 256 << 10;
/// Maximum length of a problem's message, in bytes. The rest is truncated.
pub const MESSAGE_BYTES: usize = 16 << 10;
/// Maximum size of a result as JSON, in bytes. Larger results must be streams. A parsed document
/// takes up to 16 times the memory of its text, so a result of this size takes [`MEMORY_BYTES`].
pub const RESULT_BYTES: usize = 16 << 20;
/// Maximum number of bytes returned by one `read` from a body.
pub const BODY_CHUNK_BYTES: usize = 4 << 20;
/// Maximum number of rows in an Arrow batch.
pub const BATCH_ROWS: usize = 8 << 10;
/// Size at which an Arrow batch is sent, in bytes. A batch can exceed it by one row.
pub const BATCH_BYTES: usize = 4 << 20;
/// Maximum number of batches buffered for the reader of a result. Memory is bounded by this times
/// [`BATCH_BYTES`].
pub const BATCHES_AHEAD: usize = 2;
/// Maximum number of rows in one batch of values for a guest.
pub const VALUE_ROWS: usize = 512;
/// Maximum number of connections of one block revision to one server, in use and idle. The bundle
/// cannot raise it. A server commonly allows 100 connections for all of its clients.
pub const POOL_CONNECTIONS: usize = 8;
/// Maximum number of idle SQL connections in a process, for all blocks. The oldest is closed first.
pub const SQL_IDLE_CONNECTIONS: usize = 64;
/// Maximum number of in-memory SQLite databases that a process retains between calls, for all
/// blocks. The least recently used one is dropped first.
pub const SQLITE_MEMORY_DATABASES: usize = 16;
/// Maximum size of an in-memory SQLite database, in bytes.
pub const SQLITE_DATABASE_BYTES: usize = 64 << 20;
/// Page size of an in-memory SQLite database, in bytes: SQLite's default.
pub const SQLITE_PAGE_BYTES: usize = 4 << 10;
/// Maximum memory of SQLite for the statements of one call, on all of its connections, in bytes:
/// enough for two values of maximum size, or for a sort.
pub const SQLITE_MEMORY_BYTES: u64 = 128 << 20;
/// Maximum size of SQLite's temporary files of one call, in bytes. SQLite uses them for sorts that
/// do not fit into memory.
pub const SQLITE_TEMPORARY_BYTES: u64 = 1 << 30;
/// Maximum size of a value or a row in SQLite, in bytes: the same as for one host function call.
pub const SQLITE_VALUE_BYTES: usize = HOST_CALL_BYTES;
/// Maximum size of a statement for SQLite, in bytes. Compiling a statement cannot be interrupted.
pub const SQLITE_STATEMENT_BYTES: usize = 16 << 20;
/// Maximum heap of SQLite in the process, in bytes. Applies only if the embedding program used
/// SQLite before it opened its first yard: the memory of single calls can then not be counted.
pub const SQLITE_PROCESS_BYTES: u64 = 1 << 30;
/// Maximum time to resolve a host name, connect and authenticate.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Maximum time of one statement on the database server.
pub const STATEMENT_TIME: Duration = Duration::from_secs(300);
/// Time after which an idle connection to a server is closed.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
/// Maximum duration of one `sleep` of a guest, so that the call notices its deadline. A longer
/// duration is shortened to this.
pub const SLEEP: Duration = Duration::from_secs(60);
/// Maximum number of random bytes returned by one function call.
pub const RANDOM_BYTES: u32 = 64 << 10;
/// Maximum size of all headers of a request or response, in bytes. Servers commonly accept 8 to
/// 64 KiB.
pub const HTTP_HEADER_BYTES: usize = 64 << 10;
/// Maximum number of headers of a request or response.
pub const HTTP_HEADERS: usize = 128;
/// Maximum and default time from sending a request to receiving the head of its response. A request
/// body extends it, at the rate of [`SLOWEST_BYTES`].
pub const HTTP_TIME: Duration = Duration::from_secs(120);
/// The same for a request body of unknown size. In practice, the deadline of the call is earlier.
pub const LONGEST_HTTP_TIME: Duration = Duration::from_secs(86_400);
/// Maximum time between two chunks of a response, so that a server that sends almost nothing does
/// not hold a connection indefinitely.
pub const HTTP_IDLE_TIME: Duration = Duration::from_secs(60);
/// Maximum length of the scheme of an `Authorization` header, in bytes. The registered schemes have up
/// to 21.
pub const AUTH_SCHEME_BYTES: usize = 64;
/// Maximum size of a JSON body to which a secret is added as a member, in bytes. The body is parsed,
/// which takes up to 16 times as much memory.
pub const MEMBER_BODY_BYTES: usize = 1 << 20;
/// Maximum number of redirects of one request.
pub const REDIRECTS: usize = 10;
/// Maximum number of idle HTTP connections to one server.
pub const IDLE_CONNECTIONS: usize = 8;
/// Maximum number of pages in one listing of objects: 100 million objects, at the 1,000 objects per
/// page of Cloud Storage.
pub const LIST_PAGES: usize = 100_000;
/// Maximum number of consecutive empty pages in a listing. A storage service can return empty pages
/// while it skips over deleted objects.
pub const LIST_EMPTY_PAGES: usize = 1_000;
/// Maximum size of a token server's response, in bytes.
pub const TOKEN_RESPONSE_BYTES: usize = 64 << 10;
/// Maximum length of a token server's error reason as shown, in bytes.
pub const TOKEN_REASON_BYTES: usize = 400;
/// Maximum time of a request to a token server.
pub const TOKEN_TIME: Duration = Duration::from_secs(30);
/// Maximum number of access tokens cached in a process.
pub const TOKENS: usize = 1_024;
/// Maximum time before its expiry at which a token is no longer used, because a request in transit
/// could arrive after the expiry.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// Maximum length of a search pattern of a secret, in bytes. A longer secret is split into several
/// patterns, so that the memory of a search and the bytes of a stream that are held back do not
/// grow with the length of the secret.
pub const SEARCHED_SEGMENT_BYTES: usize = 256;
/// Maximum number of bytes that encode one byte of a secret: `\u0041` in percent-encoding has 18.
pub const ENCODED_BYTES: usize = 24;
/// Number of bytes of a text that are searched at once. The decoded copies temporarily take ten
/// times as much memory.
pub const SEARCHED_BYTES: usize = 256 << 10;
/// Maximum number of secrets masked in the responses that a bundle reads in one call; then the call
/// is stopped. A server that echoes a request repeats a secret once or twice, and a call has few
/// such requests. Each mask reveals the position of a secret to the bundle.
pub const MASKED_OCCURRENCES: usize = 64;
/// Maximum number of bytes that a bundle has sent and read in a call when a secret is masked in a
/// response; above, the call is stopped. A legitimate echo occurs early, whereas guessing a secret
/// takes many bytes, in proportion to the number of guesses.
pub const MASKED_WITHIN_BYTES: usize = 256 << 10;
/// Maximum number of characters that an error message of the host quotes from the bundle.
pub const QUOTED_CHARACTERS: usize = 80;
