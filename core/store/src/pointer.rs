//! JSON Pointers in the database.

use blockyard_model::Pointer;

/// Encodes a pointer for storage. PostgreSQL strings cannot contain NUL. In a JSON Pointer (RFC
/// 6901) `~` is always followed by 0 or 1, so `~2` is free to represent NUL.
pub(crate) fn stored(pointer: &Pointer) -> String {
    pointer.as_str().replace('\0', "~2")
}

/// Decodes a stored pointer.
pub(crate) fn read_pointer(text: &str) -> Pointer {
    Pointer::new(text.replace("~2", "\0"))
}
