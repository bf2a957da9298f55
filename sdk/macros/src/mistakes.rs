//! Mistakes in the annotated code.

/// Collects mistakes, so that all are reported at once.
#[derive(Default)]
pub(crate) struct Mistakes(Option<syn::Error>);

impl Mistakes {
    pub(crate) fn add(&mut self, spanned: impl quote::ToTokens, message: impl std::fmt::Display) {
        self.join(syn::Error::new_spanned(spanned, message));
    }

    pub(crate) fn join(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
