//! The audit trail: who did what, when. Append-only, and chained: each line's hash is over the line
//! and the hash before it, so that no line can be changed, taken out or put in unnoticed by whoever
//! knows the newest hash.

use blockyard_model::{Address, Digest};

use crate::database::{Param, Row, Transaction, params};
use crate::{Millis, Store, StoreError};

/// Lines that are written with one statement.
const ROWS: usize = 32;
/// Lines that are read at once when the whole trail is walked.
const PAGE: i64 = 1_000;

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// When.
    pub at: Millis,
    /// Who: user and host.
    pub actor: String,
    /// What: `create`, `set`, `call`, `install`, …
    pub action: String,
    /// To what: an address, a bundle.
    pub subject: String,
    /// More, as JSON. Never a secret.
    pub detail: String,
}

/// Which lines of the audit trail.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// About this block, bundle or yard only.
    pub subject: Option<String>,
    /// Since this time.
    pub since: Option<Millis>,
    /// At most so many, the newest ones.
    pub limit: Option<u32>,
}

/// What walking the whole trail found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditChain {
    /// How many lines there are.
    pub lines: u64,
    /// The newest hash. Kept elsewhere, it vouches for all that came before; none while nothing was
    /// written in this format.
    pub head: Option<Digest>,
    /// The first place where the chain does not hold, in words.
    pub broken: Option<String>,
}

/// Appends a line as the last step of a transaction: in PostgreSQL the end of the trail stays
/// locked until the transaction ends.
pub(crate) async fn append(transaction: &mut Transaction, yard: &str, line: &AuditLine) -> Result<(), sqlx::Error> {
    append_all(transaction, yard, std::slice::from_ref(line)).await
}

async fn append_all(transaction: &mut Transaction, yard: &str, new: &[AuditLine]) -> Result<(), sqlx::Error> {
    transaction.lock("SELECT 1 FROM audit_head FOR UPDATE").await?;
    let head = transaction.first("SELECT lines, chain FROM audit_head", &[]).await?;
    let (mut id, chain) = match &head {
        Some(head) => (head.integer(0), head.maybe_bytes(1).and_then(digest)),
        None => (0, None),
    };
    let mut chain = match chain {
        Some(chain) => chain,
        // The first line in this format: it covers all that are older.
        None => {
            let older = transaction.fetch(LINES, params![0_i64, i64::MAX]).await?;
            older.iter().fold(genesis(yard), |chain, row| link(&chain, &read(row)))
        }
    };
    // Many at once where there are many: a statement is a round trip.
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

/// Writes lines with one statement.
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
        let places: Vec<String> = (first..first + COLUMNS).map(|place| format!("${place}")).collect();
        sql.push_str(if first == 1 { "(" } else { ", (" });
        sql.push_str(&places.join(", "));
        sql.push(')');
        params.extend([(*id).into(), line.at.into(), Param::from(&line.actor), (&line.action).into()]);
        params.extend([Param::from(&line.subject), (&line.detail).into(), chain.as_bytes().as_slice().into()]);
    }
    transaction.execute(sql, &params).await.map(drop)
}

/// The columns of a line.
const COLUMNS: usize = 7;

const LINES: &str =
    "SELECT id, at, actor, action, subject, detail, chain FROM audit WHERE id > $1 ORDER BY id LIMIT $2";

impl Store {
    /// Appends a line on its own: for what changes nothing else, such as a call.
    ///
    /// # Errors
    /// What the database says.
    pub async fn append_audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        self.append_audit_lines(std::slice::from_ref(line)).await
    }

    /// Appends lines, all or none: the disk is waited for once.
    ///
    /// # Errors
    /// What the database says.
    pub async fn append_audit_lines(&self, lines: &[AuditLine]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        append_all(&mut transaction, &self.yard().id, lines).await.map_err(|error| self.sort(error))?;
        self.commit(transaction).await
    }

    /// Lines, the newest first.
    ///
    /// # Errors
    /// What the database says.
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
        let rows = self.database.fetch(sql, &params).await.map_err(|error| self.sort(error))?;
        Ok(rows.iter().map(read).collect())
    }

    /// The lines about saves of a block, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn audit_of_saves(&self, address: &Address) -> Result<Vec<AuditLine>, StoreError> {
        let sql = "SELECT id, at, actor, action, subject, detail FROM audit
             WHERE subject = $1 AND action NOT IN ('call', 'begin-call', 'check', 'reveal') ORDER BY id";
        let rows = self.database.fetch(sql, params![&address.to_string()]).await.map_err(|error| self.sort(error))?;
        Ok(rows.iter().map(read).collect())
    }

    /// Walks the whole trail and checks its chain.
    ///
    /// # Errors
    /// What the database says.
    pub async fn check_audit(&self) -> Result<AuditChain, StoreError> {
        let sort = |error| self.sort(error);
        // The end first: lines that come meanwhile are not looked at.
        let head = self.database.first("SELECT lines, chain FROM audit_head", &[]).await.map_err(sort)?;
        let Some(head) = head else {
            return Ok(AuditChain { lines: 0, head: None, broken: Some("the end of the trail is gone".to_owned()) });
        };
        let (lines, last) = (head.integer(0), head.maybe_bytes(1).and_then(digest));
        let (mut id, mut chain, mut broken) = (0, genesis(&self.yard().id), None);
        while id < lines && broken.is_none() {
            let rows = self.database.fetch(LINES, params![id, PAGE.min(lines - id)]).await.map_err(sort)?;
            if rows.is_empty() {
                broken = Some(format!("the lines after {id} are gone; there were {lines}"));
            }
            for row in &rows {
                let next = row.integer(0);
                chain = link(&chain, &read(row));
                if next != id + 1 {
                    broken = Some(format!("the lines between {id} and {next} are gone"));
                } else if row.maybe_bytes(6).is_some_and(|own| digest(own) != Some(chain)) {
                    broken = Some(format!("line {next} is not what was written"));
                }
                id = next;
                if broken.is_some() {
                    break;
                }
            }
        }
        // In one statement: lines that are being written come with their end.
        let beyond = self
            .database
            .first("SELECT min(id) FROM audit WHERE id > (SELECT lines FROM audit_head)", &[])
            .await
            .map_err(sort)?;
        if broken.is_none()
            && let Some(extra) = beyond.and_then(|row| row.maybe_integer(0))
        {
            broken = Some(format!("line {extra} stands after the end of the trail"));
        }
        if broken.is_none() && last.is_some_and(|last| last != chain) {
            broken = Some(format!("line {lines} is not the last that was written"));
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

/// The hash of a line after that of the line before it: each part with its length before it, so
/// that no two lines look alike.
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
