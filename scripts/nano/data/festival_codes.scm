; Speaks a list of texts in one festival process and prints the labels of each. voice_data.py defines
; (set! texts '("..." ...)) and (set! folder "...") before it loads this file.
; Output: "U index", then a line "T name start end" per written word and "S phone end" per phone, then "E".
(voice_cmu_us_slt_arctic_hts)
; Pauses at punctuation only: the voice's own phrasing model puts some inside phrases, which a small model of the
; text could not foresee.
(Parameter.set 'Phrase_Method 'cart_tree)
(set! phrase_cart_tree simple_phrase_cart_tree)

; Punctuation is a word without phones, so a token lasts from its first word to the end of its last one with phones.
(define (last_word_end words end)
  (if words
      (let ((this_end (item.feat (car words) 'word_end)))
        (last_word_end (cdr words) (if (> this_end end) this_end end)))
      end))

(define (print_token token)
  (let ((words (item.daughters (item.relation token 'Token))))
    (if words
        (format t "T %s %f %f\n" (item.name token)
                (item.feat (car words) 'word_start)
                (last_word_end words 0)))))

(define (speak index text)
  (let ((utt (eval (list 'Utterance 'Text text))))
    (utt.synth utt)
    (utt.save.wave utt (format nil "%s/%d.wav" folder index) 'riff)
    (format t "U %d\n" index)
    (mapcar print_token (utt.relation.items utt 'Token))
    (mapcar (lambda (s) (format t "S %s %f\n" (item.name s) (item.feat s 'end)))
            (utt.relation.items utt 'Segment))
    (format t "E\n")))

(set! index 0)
(while texts
  (unwind-protect (speak index (car texts)) (format t "X %d\n" index))
  (set! texts (cdr texts))
  (set! index (+ index 1)))
