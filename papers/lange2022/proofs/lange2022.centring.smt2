(set-logic QF_NRA)
(declare-fun n2 () Real)
(declare-fun low () Real)
(declare-fun mu () Real)
(declare-fun sigma () Real)
(declare-fun q () Real)
(declare-fun m () Real)
(declare-fun high () Real)
(declare-fun b () Real)
(assert
 (let ((?x234 (* m q q sigma sigma)))
 (let (($x624 (<= 0.0 (+ ?x234 (* (- 1.0) mu mu low) (* (- 1.0) low n2)))))
 (let ((?x386 (* (- 1.0) m q q sigma sigma)))
 (and (<= 0.0 (+ m (* (- 1.0) low))) (<= 0.0 (+ (* (- 1.0) m) high)) (<= 0.0 (+ ?x386 (* (- 1.0) m mu mu) (* high n2))) $x624)))))
(assert
 (let ((?x234 (* m q q sigma sigma)))
 (let ((?x455 (+ ?x234 (* m b b) (* (- 1.0) high b b) (* (- 1.0) high n2))))
 (let ((?x386 (* (- 1.0) m q q sigma sigma)))
 (let (($x315 (< 0.0 (+ ?x386 (* (- 1.0) m b b) (* low b b) (* low n2)))))
 (or $x315 (< 0.0 ?x455)))))))
(assert
 (<= 0.0 (+ (* (- 1.0) q) 1.0)))
(assert
 (< 0.0 m))
(assert
 (<= 0.0 q))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 low))
(assert
 (< 0.0 high))
(assert
 (< 0.0 n2))
(assert
 (let ((?x603 (+ m (- 2.0))))
(<= 0.0 ?x603)))
(check-sat)
