//! The audit trail. It is append-only and forms a hash chain: the hash of each line covers the line
//! and the previous hash. A reader who knows the newest hash detects every line that was changed,
//! removed or inserted.

use blockyard_model::{Address, Digest};

use crate::database::{Param, Row, Transaction, params};
use crate::{Millis, Store, StoreError};

/// Number of lines that one statement inserts.
const ROWS: usize = 32;
/// Number of lines per query when the complete trail is checked.
const PAGE: i64 = 1_000;

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// Time of the action.
    pub at: Millis,
    /// User and host that performed the action.
    pub actor: String,
    /// Name of the action: `create`, `set`, `call`, `install`, ...
    pub action: String,
    /// Address of the block, or name of the bundle, that the action concerns.
    pub subject: String,
    /// Details as JSON. Never contains a secret.
    pub detail: String,
}

/// Selection of lines of the audit trail.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only lines about this block, bundle or yard.
    pub subject: Option<String>,
    /// Only lines at or after this time.
    pub since: Option<Millis>,
    /// Maximum number of lines. The newest ones are returned.
    pub limit: Option<u32>,
}

/// Result of checking the complete audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditChain {
    /// Number of lines.
    pub lines: u64,
    /// Newest hash. A copy that is stored elsewhere proves the integrity of all lines up to it.
    /// `None` if no line was written since hashes were introduced.
    pub head: Option<Digest>,
    /// Description of the first inconsistency of the chain; `None` if the chain is intact.
    pub broken: Option<String>,
}

/// Appends a line as the last step of a transaction: in PostgreSQL the end of the trail stays
/// locked until the transaction ends.
pub(crate) async fn append(transaction: &mut Transaction, yard: &str, line: &AuditLine) -> Result<(), sqlx::Error> {
    append_all(transaction, yard, std::slice::from_ref(line)).await
}

/// Appends lines as the last step of a transaction, like [`append`].
pub(crate) async fn append_all(
    transaction: &mut Transaction,
    yard: &str,
    new: &[AuditLine],
) -> Result<(), sqlx::Error> {
    transaction.lock("SELECT 1 FROM audit_head FOR UPDATE").await?;
    let head = transaction.first("SELECT lines, chain FROM audit_head", &[]).await?;
    let (mut id, chain) = match &head {
        Some(head) => (head.integer(0), head.maybe_bytes(1).and_then(digest)),
        None => (0, None),
    };
    let mut chain = match chain {
        Some(chain) => chain,
        // The first line with a hash: it covers all older lines.
        None => {
            let older = transaction.fetch(LINES, params![0_i64, i64::MAX]).await?;
            older.iter().fold(genesis(yard), |chain, row| link(&chain, &read(row)))
        }
    };
    // Insert several lines per statement, because each statement is a round trip.
    let (many, rest) = new.as_chunks::<ROWS>();
    for lines in many {
        insert(transaction, &mut id, &mut chain, lines).await?;
    }
    for line in rest {
        insert(transaction, &mut id, &mut chain, std::slice::from_ref(line)).await?;
    }
    transaction
        .execute("UPDATE audit_head SET lines = $1, chain = $2", params![id, chain.as_bytes().as_slice()])
        .await
        .map(drop)
}

/// Inserts lines with one statement.
async fn insert(
    transaction: &mut Transaction,
    id: &mut i64,
    chain: &mut Digest,
    lines: &[AuditLine],
) -> Result<(), sqlx::Error> {
    let links: Vec<(i64, Digest)> = lines
        .iter()
        .map(|line| {
            *id += 1;
            *chain = link(chain, line);
            (*id, *chain)
        })
        .collect();
    let mut sql = "INSERT INTO audit (id, at, actor, action, subject, detail, chain) VALUES ".to_owned();
    let mut params: Vec<Param<'_>> = Vec::with_capacity(COLUMNS * lines.len());
    for (line, (id, chain)) in lines.iter().zip(&links) {
        let first = params.len() + 1;
        let placeholders: Vec<String> = (first..first + COLUMNS).map(|number| format!("${number}")).collect();
        sql.push_str(if first == 1 { "(" } else { ", (" });
        sql.push_str(&placeholders.join(", "));
        sql.push(')');
        params.extend([(*id).into(), line.at.into(), Param::from(&line.actor), (&line.action).into()]);
        params.extend([Param::from(&line.subject), (&line.detail).into(), chain.as_bytes().as_slice().into()]);
    }
    transaction.execute(sql, &params).await.map(drop)
}

/// Number of columns of a line.
const COLUMNS: usize = 7;

const LINES: &str =
    "SELECT id, at, actor, action, subject, detail, chain FROM audit WHERE id > $1 ORDER BY id LIMIT $2";

impl Store {
    /// Appends a line in a separate transaction, for actions such as a call that change nothing
    /// else in the yard.
    ///
    /// # Errors
    /// Returns the database error if a statement fails.
    pub async fn append_audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        self.append_audit_lines(std::slice::from_ref(line)).await
    }

    /// Appends lines in one transaction, which waits for the disk only once.
    ///
    /// # Errors
    /// Returns the database error if a statement fails.
    pub async fn append_audit_lines(&self, lines: &[AuditLine]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        append_all(&mut transaction, &self.yard().id, lines).await.map_err(|error| self.classify(error))?;
        self.commit(transaction).await
    }

    /// Returns lines, newest first.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditLine>, StoreError> {
        let mut sql = "SELECT id, at, actor, action, subject, detail FROM audit WHERE 1 = 1".to_owned();
        let mut params: Vec<Param<'_>> = Vec::new();
        if let Some(subject) = &filter.subject {
            params.push(subject.into());
            sql.push_str(&format!(" AND subject = ${}", params.len()));
        }
        if let Some(since) = filter.since {
            params.push(since.into());
            sql.push_str(&format!(" AND at >= ${}", params.len()));
        }
        params.push(filter.limit.map_or(i64::MAX, i64::from).into());
        sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", params.len()));
        let rows = self.database.fetch(sql, &params).await.map_err(|error| self.classify(error))?;
        Ok(rows.iter().map(read).collect())
    }

    /// Returns the lines about changes of a block, oldest first. Lines about calls, checks and
    /// reveals are omitted.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn audit_of_saves(&self, address: &Address) -> Result<Vec<AuditLine>, StoreError> {
        let sql = "SELECT id, at, actor, action, subject, detail FROM audit
             WHERE subject = $1 AND action NOT IN
             ('call', 'begin-call', 'call-failed', 'check', 'reveal', 'stop-guessing', 'use') ORDER BY id";
        let rows =
            self.database.fetch(sql, params![&address.to_string()]).await.map_err(|error| self.classify(error))?;
        Ok(rows.iter().map(read).collect())
    }

    /// Returns lines about calls that record the use of capabilities, since a time and after the line
    /// with the number `after`, oldest first, each with its number. At most 1,000 lines.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn audit_of_uses(&self, since: Millis, after: i64) -> Result<Vec<(i64, AuditLine)>, StoreError> {
        let sql = "SELECT id, at, actor, action, subject, detail FROM audit
             WHERE at >= $1 AND id > $2 AND action IN ('call', 'check', 'use') AND detail LIKE '%\"used\":%'
             ORDER BY id LIMIT $3";
        let rows = self.database.fetch(sql, params![since, after, PAGE]).await.map_err(|error| self.classify(error))?;
        Ok(rows.iter().map(|row| (row.integer(0), read(row))).collect())
    }

    /// Returns the time since which the lines of calls record the use of capabilities.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn uses_since(&self) -> Result<Millis, StoreError> {
        let row = self.database.first("SELECT coalesce(uses_since, created_at) FROM yard", &[]).await;
        let row = row.map_err(|error| self.classify(error))?;
        Ok(row.map_or(Millis::MAX, |row| row.integer(0)))
    }

    /// Reads the complete trail and checks its hash chain.
    ///
    /// # Errors
    /// Returns the database error if a query fails.
    pub async fn check_audit(&self) -> Result<AuditChain, StoreError> {
        let classify = |error| self.classify(error);
        // Read the end first: lines that are appended during the check are ignored.
        let head = self.database.first("SELECT lines, chain FROM audit_head", &[]).await.map_err(classify)?;
        let Some(head) = head else {
            return Ok(AuditChain { lines: 0, head: None, broken: Some("the end of the trail is missing".to_owned()) });
        };
        let (lines, last) = (head.integer(0), head.maybe_bytes(1).and_then(digest));
        let (mut id, mut chain, mut broken) = (0, genesis(&self.yard().id), None);
        while id < lines && broken.is_none() {
            let rows = self.database.fetch(LINES, params![id, PAGE.min(lines - id)]).await.map_err(classify)?;
            if rows.is_empty() {
                broken = Some(format!("the lines after {id} are missing; {lines} were written"));
            }
            for row in &rows {
                let next = row.integer(0);
                chain = link(&chain, &read(row));
                if next != id + 1 {
                    broken = Some(format!("the lines between {id} and {next} are missing"));
                } else if row.maybe_bytes(6).is_some_and(|own| digest(own) != Some(chain)) {
                    broken = Some(format!("line {next} does not match its hash"));
                }
                id = next;
                if broken.is_some() {
                    break;
                }
            }
        }
        // A single statement reads a consistent state: a transaction that appends lines also moves the
        // end.
        let beyond = self
            .database
            .first("SELECT min(id) FROM audit WHERE id > (SELECT lines FROM audit_head)", &[])
            .await
            .map_err(classify)?;
        if broken.is_none()
            && let Some(extra) = beyond.and_then(|row| row.maybe_integer(0))
        {
            broken = Some(format!("line {extra} is after the end of the trail"));
        }
        if broken.is_none() && last.is_some_and(|last| last != chain) {
            broken = Some(format!("line {lines} is not the last line that was written"));
        }
        Ok(AuditChain { lines: lines.unsigned_abs(), head: last, broken })
    }
}

fn read(row: &Row) -> AuditLine {
    AuditLine {
        at: row.integer(1),
        actor: row.text(2).to_owned(),
        action: row.text(3).to_owned(),
        subject: row.text(4).to_owned(),
        detail: row.text(5).to_owned(),
    }
}

fn genesis(yard: &str) -> Digest {
    Digest::of(format!("blockyard audit\n{yard}").as_bytes())
}

/// Returns the hash of a line and the previous hash. Each field is preceded by its length, so that
/// different lines never have the same encoding.
fn link(before: &Digest, line: &AuditLine) -> Digest {
    let mut bytes = before.as_bytes().to_vec();
    bytes.extend(line.at.to_le_bytes());
    for part in [&line.actor, &line.action, &line.subject, &line.detail] {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part.as_bytes());
    }
    Digest::of(&bytes)
}

fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::from_bytes)
}
