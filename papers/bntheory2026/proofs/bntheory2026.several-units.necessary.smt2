(set-logic QF_NRA)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x0 () Real)
(declare-fun x1 () Real)
(declare-fun x5 () Real)
(declare-fun x4 () Real)
(declare-fun x7 () Real)
(declare-fun x6 () Real)
(assert
 (let ((?x60 (* (- 1.0) x3 x3)))
 (let ((?x59 (* x0 x2)))
 (let ((?x58 (* (- 1.0) x1 x1)))
 (let ((?x45 (* x2 x2 x3 x3 x4 x4 x5 x7)))
 (let ((?x55 (+ (* (- 1.0) x1 x1 x2 x2 x4 x4 x5 x5) (* x0 x2 x2 x2 x4 x4 x5 x5) (* (- 1.0) x2 x2 x3 x3 x4 x4 x5 x5) (* x1 x1 x2 x2 x4 x4 x5 x7) (* (- 1.0) x0 x2 x2 x2 x4 x4 x5 x7) ?x45 (* (- 1.0) x1 x1 x2 x3 x4 x5) (* x0 x2 x2 x3 x4 x5) (* (- 1.0) x2 x3 x3 x3 x4 x5) (* (- 1.0) x1 x1 x1 x1) (* 2.0 x0 x1 x1 x2) (* (- 1.0) x0 x0 x2 x2) (* (- 2.0) x1 x1 x3 x3) (* 2.0 x0 x2 x3 x3) (* (- 1.0) x3 x3 x3 x3))))
 (let (($x63 (and (<= 0.0 ?x55) (< 0.0 (+ (* (- 1.0) x2 x3 x4 x5) ?x58 ?x59 ?x60)))))
 (let ((?x36 (* x3 x3 x3 x3)))
 (let ((?x29 (* x1 x1 x1 x1)))
 (let ((?x28 (* x2 x3 x3 x3 x4 x5)))
 (let ((?x21 (* x2 x2 x3 x3 x4 x4 x5 x5)))
 (let ((?x37 (+ (* x1 x1 x2 x2 x4 x4 x5 x5) (* (- 1.0) x0 x2 x2 x2 x4 x4 x5 x5) ?x21 (* (- 1.0) x1 x1 x2 x2 x4 x4 x5 x7) (* x0 x2 x2 x2 x4 x4 x5 x7) (* (- 1.0) x2 x2 x3 x3 x4 x4 x5 x7) (* x1 x1 x2 x3 x4 x5) (* (- 1.0) x0 x2 x2 x3 x4 x5) ?x28 ?x29 (* (- 2.0) x0 x1 x1 x2) (* x0 x0 x2 x2) (* 2.0 x1 x1 x3 x3) (* (- 2.0) x0 x2 x3 x3) ?x36)))
 (let ((?x16 (* x3 x3)))
 (let ((?x12 (* x1 x1)))
 (let ((?x10 (* x2 x3 x4 x5)))
 (let (($x39 (and (<= 0.0 (+ ?x10 ?x12 (* (- 1.0) x0 x2) ?x16)) (< 0.0 ?x37))))
 (or $x39 $x63)))))))))))))))))
(assert
 (let ((?x72 (* x3 x3 x7)))
 (let ((?x70 (* x1 x1 x7)))
 (let ((?x73 (+ (* (- 1.0) x1 x1 x5) (* x0 x2 x5) (* (- 1.0) x3 x3 x5) ?x70 (* (- 1.0) x0 x2 x7) ?x72)))
 (let (($x66 (< 0.0 (+ (* (- 1.0) x1 x1) (* x0 x2) (* (- 1.0) x3 x3)))))
 (and $x66 (= 0.0 ?x73)))))))
(assert
 (<= 0.0 (+ x2 (- 3.0))))
(assert
 (<= 0.0 (+ (* (- 1.0) x1 x1) (* x0 x2))))
(assert
 (<= 0.0 (+ (* x0 x2) (* (- 1.0) x3 x3))))
(assert
 (<= 0.0 x0))
(assert
 (< 0.0 x2))
(assert
 (and (distinct 0.0 x4) true))
(assert
 (< 0.0 x5))
(assert
 (< 0.0 x6))
(check-sat)
