;; A file with two embedded manifests.
;; manifests: 2
