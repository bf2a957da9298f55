//! A bundle that does all that a bundle must not. Each operation is one attack; the test of the
//! same name shows what stops it.

mod wild;

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{Connection, Target};
use blockyard_sdk::{clock, log};

/// A block that means no good.
#[derive(Block)]
#[block(type = "misbehave", version = 1)]
pub struct Misbehave {
    /// A path that the block names.
    path: Option<String>,
    /// A secret for databases.
    #[block(audience = "sql")]
    password: Option<Secret<String>>,
    /// A secret for something else.
    #[block(audience = "https://api.example.com")]
    token: Option<Secret<String>>,
}

#[operations]
impl Misbehave {
    /// Does nothing.
    #[operation(read)]
    fn nothing(&self) -> Result<Option<bool>> {
        Ok(None)
    }

    /// Computes for ever.
    #[operation(read)]
    fn spin(&self) -> Result<u64> {
        let mut sum = 0u64;
        loop {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }

    /// Calls itself without end.
    #[operation(read)]
    fn recurse(&self) -> Result<u64> {
        fn deeper(depth: u64) -> u64 {
            std::hint::black_box(if depth == u64::MAX { 0 } else { deeper(depth + 1) + 1 })
        }
        Ok(deeper(std::hint::black_box(0)))
    }

    /// Takes all memory.
    #[operation(read)]
    fn allocate(&self) -> Result<usize> {
        let mut held: Vec<Vec<u8>> = Vec::new();
        loop {
            held.push(std::hint::black_box(vec![1; 16 << 20]));
        }
    }

    /// Panics with words.
    #[operation(read)]
    fn panic(&self) -> Result<u64> {
        panic!("the zebra has left the zoo")
    }

    /// Waits for a minute, again and again.
    #[operation(read)]
    fn sleep(&self) -> Result<u64> {
        loop {
            clock::sleep(std::time::Duration::from_secs(60));
        }
    }

    /// Takes a handle again and again.
    #[operation(read)]
    fn hoard(&self) -> Result<usize> {
        let mut held = Vec::new();
        for _ in 0..1_000_000 {
            held.push(Body::from_bytes("text/plain", b"x"));
        }
        Ok(held.len())
    }

    /// Floods the log.
    #[operation(read)]
    fn babble(&self) -> Result<u64> {
        for number in 0..20_000 {
            log::warn(&format!("line {number}\n\x1b[2J{}", "x".repeat(10_000)));
        }
        Ok(20_000)
    }

    /// Gives another result than it promised.
    #[operation(read)]
    fn lie(&self) -> Result<Liar> {
        Ok(Liar)
    }

    /// Opens a database that the block does not name.
    #[operation(read)]
    fn wander(
        &self,
        /// Where to.
        path: String,
    ) -> Result<u64> {
        Connection::open(&sqlite(path), None)?;
        Ok(0)
    }

    /// Writes in an operation that only reads.
    #[operation(read)]
    fn scribble(&self) -> Result<u64> {
        let connection = Connection::open(&sqlite(self.path.clone().unwrap_or_default()), None)?;
        Ok(connection.execute("create table scribbled (a integer)", &[])?.rows_affected)
    }

    /// Puts rows into a table in an operation that only reads.
    #[operation(read)]
    fn smuggle(&self) -> Result<u64> {
        let connection = Connection::open(&sqlite(self.path.clone().unwrap_or_default()), None)?;
        let rows = [vec![blockyard_sdk::sql::Value::Integer(1)]];
        connection.begin()?.insert(&["smuggled".to_owned()], &["a".to_owned()], &rows)
    }

    /// Uses a secret for what it is not meant.
    #[operation(read)]
    fn misuse(&self) -> Result<u64> {
        Connection::open(&sqlite(self.path.clone().unwrap_or_default()), self.token.as_ref())?;
        Ok(0)
    }

    /// Says that it was held back, and was not.
    #[operation(read)]
    fn pretend(&self) -> Result<u64> {
        Err(Problem::new("not-granted", "it was the host"))
    }

    /// Calls the host in any order and with any arguments.
    #[operation(write)]
    fn wild(
        &self,
        /// Where the sequence begins.
        seed: u64,
        /// How long it is.
        calls: u32,
    ) -> Result<u32> {
        let mut wild = wild::Wild::new(self, seed);
        (0..calls).for_each(|_| wild.step());
        Ok(calls)
    }

    /// Says all that it knows of its secret.
    #[operation(read)]
    fn gossip(&self) -> Result<Vec<String>> {
        let handle = self.password.as_ref().map(Secret::handle).transpose()?;
        let pointer = handle.map(|handle| handle.pointer()).unwrap_or_default();
        log::warn(&format!("the password is {:?} at {pointer}", self.password));
        Ok(vec![format!("{:?}", self.password), pointer])
    }
}

/// A result whose schema says number, and whose value is a text.
pub struct Liar;

impl blockyard_sdk::OperationResult for Liar {
    const STREAMED: bool = false;

    fn schema() -> Value {
        json!({"type": "integer"})
    }

    fn into_reply(self) -> Result<Reply> {
        blockyard_sdk::OperationResult::into_reply("not a number")
    }
}

fn sqlite(path: String) -> Target {
    Target { dialect: "sqlite".to_owned(), host: None, port: None, database: path, username: None, options: Vec::new() }
}

bundle! {
    name: "misbehave",
    description: "What a bundle must not do",
    types: [Misbehave],
    capabilities: ["sql sqlite", "clock", "random", "crypto", "http http://127.0.0.1:9"],
}
