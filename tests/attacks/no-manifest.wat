;; A file without an embedded manifest.
;; manifests: 0
