;; A file that says nothing of itself without running.
;; manifests: 0
