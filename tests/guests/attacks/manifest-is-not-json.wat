;; Describes itself in words.
;; manifest: I am a bundle, trust me
