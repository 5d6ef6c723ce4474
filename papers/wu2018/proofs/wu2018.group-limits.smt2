(set-logic QF_NRA)
(declare-fun x3 () Real)
(declare-fun x9 () Real)
(declare-fun x2 () Real)
(declare-fun x1 () Real)
(declare-fun x5 () Real)
(declare-fun x4 () Real)
(declare-fun x10 () Real)
(declare-fun x7 () Real)
(declare-fun x8 () Real)
(declare-fun x6 () Real)
(declare-fun x0 () Real)
(assert
 (let ((?x69 (* (- 1.0) x4 x4)))
 (let ((?x51 (* (- 1.0) x6 x6 x7 x7)))
 (let ((?x76 (+ (* (- 1.0) x0 x0 x2 x2) (* 2.0 x0 x0 x1 x3) (* 2.0 x0 x1 x6 x7) (* (- 2.0) x0 x2 x6 x7) (* 2.0 x1 x2 x7 x7) (* (- 4.0) x2 x2 x7 x7) (* (- 2.0) x1 x3 x7 x7) (* 8.0 x2 x3 x7 x7) (* (- 4.0) x3 x3 x7 x7) ?x51 (* 2.0 x0 x2 x4) (* (- 4.0) x0 x3 x4) (* (- 4.0) x0 x1 x5) (* 4.0 x0 x2 x5) (* (- 2.0) x4 x6 x7) (* 4.0 x5 x6 x7) (* (- 2.0) x1 x2 x8) (* 4.0 x2 x2 x8) (* 2.0 x1 x3 x8) (* (- 8.0) x2 x3 x8) (* 4.0 x3 x3 x8) (* (- 2.0) x1 x7 x10) (* 4.0 x2 x7 x10) (* (- 4.0) x3 x7 x10) ?x69 (* 4.0 x4 x5) (* (- 4.0) x5 x5) (* 2.0 x1 x9) (* (- 4.0) x2 x9) (* 4.0 x3 x9))))
 (let ((?x9 (* (- 2.0) x2)))
 (let ((?x13 (+ x1 ?x9 (* 2.0 x3))))
 (let (($x14 (and (distinct 0.0 ?x13) true)))
 (let ((?x38 (+ (* x0 x1 x2) (* (- 2.0) x0 x2 x2) (* (- 2.0) x0 x1 x3) (* 6.0 x0 x2 x3) (* (- 4.0) x0 x3 x3) (* (- 1.0) x1 x6 x7) (* 2.0 x2 x6 x7) (* (- 2.0) x3 x6 x7) (* (- 1.0) x1 x4) (* 2.0 x2 x4) (* (- 2.0) x3 x4) (* 2.0 x1 x5) (* (- 4.0) x2 x5) (* 4.0 x3 x5))))
 (or (and $x14 (and (distinct 0.0 ?x38) true)) (and $x14 (and (distinct 0.0 ?x76) true)) false (and (and (distinct 0.0 x3) true) false))))))))))
(assert
 (and (= 0.0 (+ (* (- 1.0) x2) x3)) (= 0.0 (+ (* (- 1.0) x4) x5)) (= 0.0 (+ (* (- 1.0) x0 x2) (* (- 1.0) x6 x7) x5)) (= 0.0 (+ (* (- 1.0) x0 x4) (* (- 1.0) x7 x10) x9)) (< 0.0 x3) (< 0.0 (+ x1 (* (- 2.0) x2) x3))))
(assert
 (<= 0.0 (+ x1 (- 2.0))))
(assert
 (<= 0.0 (+ (* (- 1.0) x5 x5) (* x3 x9))))
(assert
 (<= 0.0 (+ (* (- 1.0) x2 x2) (* x1 x3))))
(assert
 (let ((?x51 (* (- 1.0) x6 x6 x7 x7)))
 (let ((?x110 (* x1 x3 x7 x7)))
 (<= 0.0 (+ ?x110 ?x51 (* (- 1.0) x1 x3 x8))))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x1 x9))))
(assert
 (let ((?x117 (* x1 x7 x7 x9)))
 (<= 0.0 (+ ?x117 (* (- 1.0) x7 x7 x10 x10) (* (- 1.0) x1 x8 x9)))))
(assert
 (<= 0.0 (+ (* x7 x7) (* (- 1.0) x8))))
(assert
 (<= 0.0 (+ (* x7 x7) (* (- 1.0) x8))))
(assert
 (< 0.0 x1))
(assert
 (<= 0.0 x3))
(assert
 (< 0.0 x7))
(assert
 (<= 0.0 x8))
(assert
 (<= 0.0 x9))
(check-sat)
