//! The standard interfaces, as in `schemas/interfaces`. A test of the SDK compares this table with
//! the files.

/// A standard interface.
pub(crate) struct Interface {
    /// Name of the trait in the SDK.
    pub(crate) trait_name: &'static str,
    /// Name in the manifest.
    pub(crate) name: &'static str,
    pub(crate) operations: &'static [InterfaceOperation],
}

/// An operation of an interface.
pub(crate) struct InterfaceOperation {
    pub(crate) name: &'static str,
    pub(crate) effect: &'static str,
    pub(crate) arguments: &'static [&'static str],
    /// Whether the operation reads a stream of bytes.
    pub(crate) input: bool,
    /// Whether the operation returns a stream of bytes.
    pub(crate) output: bool,
    pub(crate) description: &'static str,
}

impl InterfaceOperation {
    const fn new(
        name: &'static str,
        effect: &'static str,
        arguments: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self { name, effect, arguments, input: false, output: false, description }
    }

    const fn input(self) -> Self {
        Self { input: true, ..self }
    }

    const fn output(self) -> Self {
        Self { output: true, ..self }
    }
}

pub(crate) const INTERFACES: [Interface; 6] = [
    Interface {
        trait_name: "Credentials",
        name: "credentials",
        operations: &[InterfaceOperation::new(
            "describe",
            "read",
            &[],
            "Returns the account, project and scopes of the credentials, without a secret: `{account?, project?, scopes?}`.",
        )],
    },
    Interface {
        trait_name: "Database",
        name: "database",
        operations: &[
            InterfaceOperation::new("query", "read", &["statement", "parameters"], "Runs a read-only statement and returns its rows as an Arrow IPC stream.").output(),
            InterfaceOperation::new("execute", "write", &["statement", "parameters"], "Runs a statement that modifies data and returns the number of affected rows."),
            InterfaceOperation::new("execute-many", "write", &["statement", "parameters"], "Runs a statement once for each set of parameters, in one transaction."),
            InterfaceOperation::new("fetch-one", "read", &["statement", "parameters"], "Returns the first row of a query, or null if there is none."),
            InterfaceOperation::new("fetch-many", "read", &["statement", "parameters", "size"], "Returns the first rows of a query, at most `size`."),
            InterfaceOperation::new("fetch-all", "read", &["statement", "parameters"], "Returns all rows of a query, as values."),
        ],
    },
    Interface {
        trait_name: "Job",
        name: "job",
        operations: &[
            InterfaceOperation::new("job-status", "read", &["job_id"], "Returns the current state of a job. For a failed job, the result contains `error`."),
            InterfaceOperation::new("job-wait", "read", &["job_id", "timeout_seconds"], "Waits until a job is done, for at most `timeout_seconds`. Returns a problem if the job failed or is not done in time; in the latter case, the job continues."),
            InterfaceOperation::new("job-cancel", "write", &["job_id"], "Requests the cancellation of a job. The job may complete before the request takes effect; a job that is done does not change."),
        ],
    },
    Interface {
        trait_name: "Notification",
        name: "notification",
        operations: &[
            InterfaceOperation::new("notify", "write", &["subject", "body"], "Sends a message. Returns when the service has accepted it. A retry after a failure may deliver the message twice."),
        ],
    },
    Interface {
        trait_name: "ObjectStorage",
        name: "object-storage",
        operations: &[
            InterfaceOperation::new("list", "read", &["prefix", "delimiter", "page_size", "page_token"], "Returns a page of the objects whose paths begin with a prefix: `{objects, prefixes, next_page_token?}`."),
            InterfaceOperation::new("stat", "read", &["path"], "Returns the description of an object, without its content."),
            InterfaceOperation::new("get", "read", &["path", "offset", "length"], "Returns the content of an object, or a range of it, as a stream. The result describes the object.").output(),
            InterfaceOperation::new("put", "write", &["path", "content_type", "if_absent"], "Stores the input stream as an object, atomically.").input(),
            InterfaceOperation::new("delete", "destructive", &["path"], "Deletes an object."),
            InterfaceOperation::new("copy", "write", &["from", "to"], "Copies an object within the storage service; its content is not downloaded."),
        ],
    },
    Interface {
        trait_name: "SecretStore",
        name: "secret-store",
        operations: &[
            InterfaceOperation::new("read", "read", &[], "Returns the secret as a stream of bytes. As the source of another block's secret, the bytes must be UTF-8.").output(),
        ],
    },
];

/// Returns the interface of a trait.
pub(crate) fn of_trait(name: &str) -> Option<&'static Interface> {
    INTERFACES.iter().find(|interface| interface.trait_name == name)
}

/// Returns the interface with this name in the manifest.
pub(crate) fn named(name: &str) -> Option<&'static Interface> {
    INTERFACES.iter().find(|interface| interface.name == name)
}
