;; The embedded manifest and `describe` have different names.
;; embedded: innocent
