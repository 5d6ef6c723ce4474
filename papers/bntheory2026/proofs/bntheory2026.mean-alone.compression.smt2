(set-logic QF_NRA)
(declare-fun x4 () Real)
(declare-fun x6 () Real)
(declare-fun x3 () Real)
(declare-fun x7 () Real)
(declare-fun x8 () Real)
(declare-fun x0 () Real)
(assert
 (or false false))
(assert
 true)
(assert
 (<= 0.0 (+ x4 (- 2.0))))
(assert
 (<= 0.0 (+ (* (- 1.0) x3 x3) (* x4 x6))))
(assert
 (<= 0.0 (+ (* x4 x6 x8) (* (- 1.0) x7 x7))))
(assert
 (<= 0.0 x8))
(assert
 (<= 0.0 x8))
(assert
 (and (distinct 0.0 x0) true))
(assert
 (< 0.0 x4))
(assert
 (<= 0.0 x6))
(assert
 (<= 0.0 x8))
(check-sat)
