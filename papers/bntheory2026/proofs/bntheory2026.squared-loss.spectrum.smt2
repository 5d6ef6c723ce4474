(set-logic QF_NRA)
(declare-fun x9 () Real)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x8 () Real)
(declare-fun x4 () Real)
(declare-fun x7 () Real)
(declare-fun x5 () Real)
(declare-fun x0 () Real)
(declare-fun x6 () Real)
(declare-fun x1 () Real)
(assert
 (let ((?x34 (* x2 x2 x3 x3 x9 x9)))
 (let ((?x11 (* x2 x2 x3 x3 x3 x3 x8 x8)))
 (let ((?x9 (* x2 x2 x3 x3 x3 x3 x7 x7)))
 (let ((?x35 (+ ?x9 ?x11 (* (- 2.0) x2 x3 x3 x3 x4 x7 x7) (* (- 2.0) x2 x3 x3 x3 x5 x7 x8) (* (- 4.0) x2 x3 x3 x3 x4 x8 x8) (* 2.0 x2 x2 x3 x3 x3 x8 x9) (* x3 x3 x4 x4 x7 x7) (* x3 x3 x5 x5 x7 x7) (* 4.0 x3 x3 x4 x5 x7 x8) (* x0 x2 x3 x3 x8 x8) (* 3.0 x3 x3 x4 x4 x8 x8) (* (- 1.0) x3 x3 x5 x5 x8 x8) (* (- 2.0) x2 x3 x3 x5 x7 x9) (* (- 4.0) x2 x3 x3 x4 x8 x9) ?x34)))
 (or false false false (and (distinct 0.0 ?x35) true)))))))
(assert
 (and (= 0.0 (* (- 1.0) x7)) (= 0.0 (* (- 1.0) x8)) (= 0.0 (* (- 1.0) x9))))
(assert
 (<= 0.0 (+ x2 (- 3.0))))
(assert
 (<= 0.0 (+ (* x0 x6) (* (- 1.0) x9 x9))))
(assert
 (<= 0.0 (+ (* x2 x6) (* (- 1.0) x7 x7))))
(assert
 (<= 0.0 (+ (* x2 x6) (* (- 1.0) x8 x8))))
(assert
 (<= 0.0 (+ (* x0 x2) (* (- 1.0) x5 x5))))
(assert
 (<= 0.0 (+ (* x0 x2) (* (- 1.0) x4 x4))))
(assert
 (<= 0.0 x0))
(assert
 (< 0.0 x1))
(assert
 (< 0.0 x2))
(assert
 (and (distinct 0.0 x3) true))
(assert
 (<= 0.0 x6))
(check-sat)
