//! Calls of the host in random order with random arguments.

use std::time::Duration;

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{Connection, Rows, Target, Timestamp, Transaction, Value as SqlValue};
use blockyard_sdk::{clock, crypto, http, log, random};

use crate::{Misbehave, sqlite};

/// Values of string arguments.
const TEXTS: [&str; 22] = [
    "",
    "select 1",
    "values (1), (2), (null)",
    "select ?1, ?2",
    "create table if not exists wild (a integer primary key, b text)",
    "insert into wild (b) values (?)",
    "insert into wild (b) values ('x') returning a",
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) select i, 'text' from n",
    "commit",
    "rollback; select 1",
    "select 1; drop table wild",
    "attach 'other.db' as other",
    "pragma journal_mode = delete",
    "select load_extension('x')",
    "wild",
    "a",
    "b",
    "text/plain",
    "http://127.0.0.1:9/",
    "http://169.254.169.254/latest",
    "\0\u{202e}\r\n🦓",
    "postgres",
];
const SIZES: [u32; 9] = [0, 1, 7, 255, 4096, 65_535, 1 << 20, 5 << 20, u32::MAX];

/// A pseudo-random sequence, determined by its seed, and the handles that the host has returned so
/// far.
pub(crate) struct RandomCalls<'a> {
    block: &'a Misbehave,
    state: u64,
    bodies: Vec<Body>,
    connections: Vec<Connection>,
    transactions: Vec<Transaction>,
    rows: Vec<Rows>,
}

impl<'a> RandomCalls<'a> {
    pub(crate) fn new(block: &'a Misbehave, seed: u64) -> Self {
        let (bodies, connections, transactions, rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { block, state: seed | 1 << 40, bodies, connections, transactions, rows }
    }

    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 32).unwrap_or(0) % end.max(1)
    }

    fn text(&mut self) -> String {
        match self.below(20) {
            0 => "x".repeat(1 << 20),
            _ => TEXTS[self.below(TEXTS.len())].to_owned(),
        }
    }

    fn size(&mut self) -> u32 {
        SIZES[self.below(SIZES.len())]
    }

    fn value(&mut self) -> SqlValue {
        match self.below(10) {
            0 => SqlValue::Null,
            1 => SqlValue::Boolean(true),
            2 => SqlValue::Integer(i64::MIN),
            3 => SqlValue::Float(f64::NAN),
            4 => SqlValue::Decimal(self.text()),
            5 => SqlValue::Bytes(vec![0; self.size().min(1 << 20) as usize]),
            6 => SqlValue::Date(i32::MAX),
            7 => SqlValue::Timestamp(Timestamp { micros: i64::MAX, offset_minutes: Some(i16::MIN) }),
            8 => SqlValue::Other((self.text(), self.text())),
            _ => SqlValue::Text(self.text()),
        }
    }

    fn values(&mut self) -> Vec<SqlValue> {
        (0..self.below(4)).map(|_| self.value()).collect()
    }

    fn texts(&mut self) -> Vec<String> {
        (0..self.below(4)).map(|_| self.text()).collect()
    }

    /// Removes and returns a random handle, if there is one.
    fn any<T>(&mut self, handles: fn(&mut Self) -> &mut Vec<T>) -> Option<T> {
        let count = handles(self).len();
        let at = self.below(count);
        (count > 0).then(|| handles(self).swap_remove(at))
    }

    /// Makes one call. Its outcome does not matter.
    pub(crate) fn step(&mut self) {
        match self.below(13) {
            0 => {
                let (kind, size) = (self.text(), self.size().min(1 << 20));
                self.bodies.push(Body::from_bytes(&kind, &vec![7; size as usize]));
            }
            1..=3 => self.body(),
            4 => {
                let block = self.block;
                let own = sqlite(block.path.clone().unwrap_or_default());
                let target = if self.below(4) == 0 {
                    Target { dialect: self.text(), host: Some(self.text()), database: self.text(), ..own }
                } else {
                    own
                };
                let password = [None, block.password.as_ref(), block.token.as_ref()][self.below(3)];
                self.connections.extend(Connection::open(&target, password));
            }
            5..=8 => self.connection(),
            9 => self.transaction(),
            10 => self.read(),
            11 => {
                let mut request = http::request(["GET", "PUT", "", "TRACE"][self.below(4)], self.text());
                if self.below(2) == 0 {
                    request = request.header(self.text(), self.text());
                }
                if let Some(secret) = self.block.token.as_ref().filter(|_| self.below(2) == 0) {
                    request = request.bearer(secret).secret_digest_header(self.text(), secret);
                }
                if let Some(body) = self.any(|calls| &mut calls.bodies) {
                    request = request.body(body);
                }
                let _ = request.timeout(Duration::from_millis(self.below(50) as u64)).send();
            }
            _ => {
                log::info(&self.text());
                clock::sleep(Duration::from_millis(self.below(2) as u64));
                let _ = random::bytes(self.size().min(65_536));
                if let Some(secret) = &self.block.token {
                    let _ = crypto::hmac_sha256(secret, b"data");
                    let _ = crypto::sign_rs256(secret, b"data");
                }
            }
        }
    }

    fn body(&mut self) {
        let Some(body) = self.any(|calls| &mut calls.bodies) else { return };
        match self.below(5) {
            0 => drop(body.read(self.size())),
            // The host buffers what is taken, so the size is limited to what the memory limit
            // allows.
            1 => {
                let chunk = body.take(self.size().min(5 << 20));
                self.bodies.extend(chunk.ok().flatten());
            }
            2 => self.bodies.extend(body.again()),
            3 => drop((body.size(), body.media_type())),
            _ => return,
        }
        self.bodies.push(body);
    }

    fn connection(&mut self) {
        let Some(connection) = self.any(|calls| &mut calls.connections) else { return };
        let (text, values) = (self.text(), self.values());
        match self.below(6) {
            0 | 1 => self.rows.extend(connection.query(&text, &values)),
            2 => drop(connection.execute(&text, &values)),
            3 => drop(connection.execute_many(&text, &[values, self.values()])),
            4 => self.transactions.extend(connection.begin()),
            _ => return,
        }
        self.connections.push(connection);
    }

    fn transaction(&mut self) {
        let Some(transaction) = self.any(|calls| &mut calls.transactions) else { return };
        let (text, values) = (self.text(), self.values());
        match self.below(5) {
            0 => self.rows.extend(transaction.query(&text, &values)),
            1 => drop(transaction.execute(&text, &values)),
            2 => {
                let rows = [values, self.values()];
                drop(transaction.insert(&self.texts(), &self.texts(), &rows));
            }
            3 => return drop(transaction.commit()),
            _ => return,
        }
        self.transactions.push(transaction);
    }

    fn read(&mut self) {
        let Some(rows) = self.any(|calls| &mut calls.rows) else { return };
        match self.below(4) {
            0 => drop(rows.columns()),
            1 => drop(rows.next(self.size())),
            2 => return self.bodies.push(rows.into_arrow()),
            _ => return,
        }
        self.rows.push(rows);
    }
}
