(set-logic QF_NRA)
(declare-fun x11 () Real)
(declare-fun x6 () Real)
(declare-fun x3 () Real)
(declare-fun x0 () Real)
(declare-fun x10 () Real)
(declare-fun x4 () Real)
(declare-fun x9 () Real)
(declare-fun x8 () Real)
(declare-fun x7 () Real)
(declare-fun x2 () Real)
(declare-fun x1 () Real)
(declare-fun x5 () Real)
(assert
 (let ((?x18 (* x0 x0 x3 x3 x8)))
 (let ((?x15 (* x0 x0 x6 x6 x7)))
 (let ((?x9 (* x0 x0 x2 x4 x4)))
 (let ((?x27 (+ ?x9 (* (- 1.0) x1 x1 x2 x4 x4) ?x15 ?x18 (* (- 2.0) x0 x0 x4 x6 x9) (* (- 2.0) x0 x0 x3 x4 x10) (* 2.0 x0 x0 x3 x6 x11))))
 (< 0.0 ?x27))))))
(assert
 (let ((?x36 (+ (* (- 1.0) x0 x0 x2 x4 x4) (* x1 x1 x2 x4 x4) (* (- 1.0) x0 x0 x6 x6 x7) (* (- 1.0) x0 x0 x3 x3 x8) (* 2.0 x0 x0 x4 x6 x9) (* 2.0 x0 x0 x3 x4 x10) (* (- 2.0) x0 x0 x3 x6 x11))))
 (<= 0.0 ?x36)))
(assert
 (<= 0.0 (+ x4 (- 2.0))))
(assert
 (<= 0.0 (+ (* x4 x5) (* (- 1.0) x6 x6))))
(assert
 (<= 0.0 (+ (* (- 1.0) x3 x3) (* x4 x5))))
(assert
 (< 0.0 x0))
(assert
 (< 0.0 x1))
(assert
 (< 0.0 x4))
(assert
 (<= 0.0 x5))
(check-sat)
